'use strict';
// Elements from names, attributes and children. Text is only ever set as text.
(() => {
  const SVG = 'http://www.w3.org/2000/svg';

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  /** An HTML element; strings among the children become text. */
  arena.el = (name, attributes = {}, ...children) =>
    fill(document.createElement(name), attributes, children);

  /** An SVG element. */
  arena.svg = (name, attributes = {}, ...children) =>
    fill(document.createElementNS(SVG, name), attributes, children);

  /** Text from a corpus, a judge or a config: kept apart from the direction of what is around. */
  arena.quoted = (text, name = 'span') => arena.el(name, { class: 'quoted', dir: 'auto' }, text);

  /** The beginning of a text that may be as long as a page, where a line is meant. */
  arena.begin = (text, most = 240) =>
    text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text;

  /** Texts of others as a, b and c: nodes and what stands between them. */
  arena.listed = (texts) =>
    texts.flatMap((text, at) => {
      const before = at === 0 ? [] : [at === texts.length - 1 ? ' and ' : ', '];
      return [...before, arena.quoted(text)];
    });

  /** A name that leads to the model's own page. */
  arena.modelLink = (model) =>
    arena.el('a', { class: 'quoted', dir: 'auto', href: arena.root + model.file }, model.name);

  /** The element with this id. */
  arena.byId = (id) => document.getElementById(id);

  // What needs scripts is shown before any script draws in it, or hides what it has nothing for.
  for (const element of document.querySelectorAll('.needs-script')) element.hidden = false;
})();
