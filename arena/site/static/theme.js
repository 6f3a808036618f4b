'use strict';
// Light or dark: the reader's system decides until the button does. Runs before the first paint.
(() => {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');

  function remembered() {
    try {
      const theme = localStorage.getItem('arena-theme');
      return theme === 'light' || theme === 'dark' ? theme : null;
    } catch {
      return null; // storage is closed to pages opened from some disks; the toggle still works
    }
  }

  function remember(theme) {
    try {
      localStorage.setItem('arena-theme', theme);
    } catch {
      // as above
    }
  }

  const isDark = () => (root.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';
  const announce = () => document.dispatchEvent(new Event('arena-theme'));

  const theme = remembered();
  if (theme) root.dataset.theme = theme;

  document.addEventListener('DOMContentLoaded', () => {
    const button = document.getElementById('theme');
    const show = () => {
      button.textContent = isDark() ? 'Light' : 'Dark';
      button.setAttribute('aria-label', `Switch to the ${isDark() ? 'light' : 'dark'} theme`);
    };
    button.hidden = false;
    button.addEventListener('click', () => {
      root.dataset.theme = isDark() ? 'light' : 'dark';
      remember(root.dataset.theme);
      show();
      announce();
    });
    system.addEventListener('change', () => {
      show();
      announce();
    });
    show();
  });
})();
