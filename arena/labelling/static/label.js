'use strict';
// Asks one question after the other. The server has saved an answer before it sends the next one.
(() => {
  const { el, byId } = arena;
  const unit = document.body.dataset.unit;
  const LONG = unit === 'document' ? 2600 : 420; // characters beyond which a text is folded
  const FOLDED = 'Show all';
  const choices = [...document.querySelectorAll('.choices button')];
  const clock = { since: null, passed: 0 }; // of the question, without pauses

  const tab = [...crypto.getRandomValues(new Uint8Array(12))]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('');
  let question = null;
  let busy = false;
  let again = null; // what "Try again" does

  // The clock

  function run() {
    if (clock.since === null && question && !document.hidden && !open()) {
      clock.since = performance.now();
    }
  }

  function halt() {
    if (clock.since !== null) clock.passed += performance.now() - clock.since;
    clock.since = null;
  }

  const open = () => document.querySelector('dialog[open]');

  // The server

  async function ask(action, given = {}) {
    const response = await fetch(`api/${action}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ tab, ...given }),
    });
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Refused(body.error ?? `The server refuses (${response.status}).`);
    return body;
  }

  class Refused extends Error {}

  const GONE =
    'The server does not answer. Every answer before this one is saved. Start arena label again, ' +
    'and open the address that it prints.';

  async function step(action, given, message) {
    if (busy) return;
    busy = true;
    document.body.setAttribute('aria-busy', 'true');
    halt();
    try {
      const state = await ask(action, given);
      byId('problem').hidden = true;
      show(state, message);
    } catch (error) {
      fail(error instanceof Refused ? error.message : GONE, () => step(action, given, message));
    } finally {
      busy = false;
      document.body.removeAttribute('aria-busy');
      run();
    }
  }

  function fail(message, retry) {
    again = retry;
    byId('what').textContent = message;
    byId('problem').hidden = false;
    byId('retry').focus();
  }

  // What is shown

  function show(state, message) {
    question = state.question;
    clock.since = null;
    clock.passed = 0;
    const total = state.done + state.left;
    byId('bar').max = total || 1;
    byId('bar').value = state.done;
    byId('count').textContent = `${state.done} of ${total}`;
    byId('time').textContent = question ? timeLeft(state.left_s) : '';
    const undone = state.undone ? 'Your last answer is taken back. ' : '';
    const number = question ? `Question ${Math.min(state.done + 1, total)} of ${total}.` : '';
    byId('status').textContent = `${undone || message(state)}${number}`;
    byId('question').hidden = !question;
    byId('finished').hidden = Boolean(question);
    for (const button of [...choices, byId('cannot'), byId('skip')]) button.hidden = !question;
    byId('answers').hidden = false;
    byId('undo').disabled = state.mine === 0;
    byId('fold').hidden = true;
    scrollTo({ top: 0, behavior: 'instant' });
    if (question) draw();
    else finish(state, total);
  }

  function timeLeft(seconds) {
    if (seconds === null) return '';
    if (seconds < 90) return 'about a minute left';
    const minutes = Math.round(seconds / 60);
    if (minutes < 90) return `about ${minutes} min left`;
    return `about ${(minutes / 60).toFixed(1)} h left`;
  }

  function draw() {
    byId('query').replaceChildren(arena.quoted(question.query));
    const drawn = unit === 'document' ? paper(question.lists[0][0]) : versus(question.lists);
    byId('lists').replaceChildren(drawn);
    byId('fold').hidden = !document.querySelector('.text.long');
    fold(true);
    byId('query').focus({ preventScroll: true });
  }

  function text(body, className) {
    const long = body.text.length > LONG;
    return el('p', { class: `text quoted ${long ? `long ${className}` : ''}`, dir: 'auto' }, body.text);
  }

  function parts(body) {
    return [
      body.title ? el('div', { class: 'title quoted', dir: 'auto' }, body.title) : null,
      body.text ? text(body, 'folds') : null,
      body.title || body.text ? null : el('p', { class: 'explain' }, 'The document is empty.'),
    ];
  }

  function tags(body) {
    const drawn = [
      body.other ? el('span', { class: 'tag both' }, `in both lists, there at ${body.other}`) : null,
      body.cut ? el('span', { class: 'tag' }, 'cut here, as for the judge') : null,
    ].filter(Boolean);
    return drawn.length ? el('div', { class: 'tags' }, ...drawn) : null;
  }

  const paper = (body) =>
    el('article', { class: 'paper', 'aria-label': 'Document' }, ...parts(body), tags(body));

  function versus(lists) {
    const names = ['First list', 'Second list'];
    const drawn = lists.map((list, side) =>
      el(
        'section',
        { 'aria-labelledby': `list-${side}` },
        el('h2', { id: `list-${side}` }, names[side]),
        list.length
          ? el('ol', { class: 'list' }, ...list.map(item))
          : el('p', { class: 'explain' }, 'This list is empty.'),
      ),
    );
    return el('div', { class: 'versus' }, ...drawn);
  }

  function item(body, at) {
    const inside = el('div', { class: 'body' }, ...parts(body), tags(body));
    return el('li', {}, el('span', { class: 'place' }, String(at + 1)), inside);
  }

  function fold(folded) {
    for (const body of document.querySelectorAll('.folds')) body.classList.toggle('long', folded);
    byId('fold').querySelector('span').textContent = folded ? FOLDED : 'Show less';
    byId('fold').setAttribute('aria-expanded', String(!folded));
  }

  function finish(state, total) {
    const others = state.left > 0;
    byId('finished-title').textContent = others
      ? 'Others look at the rest'
      : `Done: ${total === 1 ? 'the one item is' : `all ${total} items are`} labelled`;
    byId('finished-words').textContent = others
      ? `${state.left} of ${total} items are before somebody else right now.`
      : 'Close this page, and end arena label with Ctrl-C. `arena rate` and `arena audit` use the ' +
        'labels from now on. A larger --n asks about more items.';
    byId('again').hidden = !others;
    byId('finished-title').focus();
  }

  // What people do

  function answer(value, name, reason = '') {
    if (!question || busy) return;
    halt();
    const seconds = clock.passed / 1000;
    const given = { item: question.id, value, reason, seconds };
    step('answer', given, () => `Saved: ${name}. `);
  }

  const cannotTell = () => answer(null, 'cannot tell', 'cannot tell');
  const undo = () => {
    if (!byId('undo').disabled) step('undo', {}, () => 'There is nothing to take back. ');
  };
  const choose = (button) =>
    answer(Number(button.dataset.value), button.querySelector('b').textContent);

  function show_dialog(name) {
    if (open() || (name === 'skip' && (!question || busy))) return;
    halt();
    byId('reason').value = '';
    byId(`${name}-dialog`).showModal();
  }

  function skip(reason) {
    byId('skip-dialog').close();
    answer(null, 'skipped', reason.trim() || 'skipped');
  }

  function move(by) {
    const at = choices.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : choices.length - 1) : at + by;
    choices[(next + choices.length) % choices.length].focus();
  }

  const keys = {
    ArrowLeft: () => move(-1),
    ArrowRight: () => move(1),
    c: cannotTell,
    s: () => show_dialog('skip'),
    u: undo,
    m: () => byId('fold').hidden || byId('fold').click(),
    p: () => show_dialog('pause'),
    '?': () => show_dialog('help'),
  };

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const dialog = open();
    if (dialog) {
      inDialog(dialog, event);
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const button = question && choices.find((each) => each.getAttribute('aria-keyshortcuts') === key);
    const act = button ? () => choose(button) : keys[key];
    if (!act || (!question && key.startsWith('Arrow'))) return;
    event.preventDefault();
    act();
  }

  function inDialog(dialog, event) {
    if (event.target.id === 'reason') {
      if (event.key === 'Enter') skip(byId('reason').value);
      return;
    }
    const reason = dialog.querySelector(`[data-reason][aria-keyshortcuts="${CSS.escape(event.key)}"]`);
    if (reason) {
      event.preventDefault();
      skip(reason.dataset.reason);
    } else if (dialog.id === 'pause-dialog' && event.key.toLowerCase() === 'p') dialog.close();
  }

  // Wiring

  for (const button of choices) button.addEventListener('click', () => choose(button));
  byId('cannot').addEventListener('click', cannotTell);
  byId('undo').addEventListener('click', undo);
  byId('fold').addEventListener('click', () => fold(!document.querySelector('.text.long')));
  byId('again').addEventListener('click', () => step('next', {}, () => ''));
  byId('retry').addEventListener('click', () => again?.());
  byId('skip-now').addEventListener('click', () => skip(byId('reason').value));
  for (const name of ['skip', 'pause', 'help']) {
    byId(name).addEventListener('click', () => show_dialog(name));
    byId(`${name}-dialog`).addEventListener('close', () => {
      run();
      if (!busy && question) byId('query').focus({ preventScroll: true });
    });
  }
  for (const button of document.querySelectorAll('[data-reason]'))
    button.addEventListener('click', () => skip(button.dataset.reason));
  for (const button of document.querySelectorAll('dialog .close'))
    button.addEventListener('click', () => button.closest('dialog').close());
  document.addEventListener('keydown', pressed);
  document.addEventListener('visibilitychange', () => (document.hidden ? halt() : run()));
  addEventListener('pagehide', () =>
    navigator.sendBeacon(
      'api/release',
      new Blob([JSON.stringify({ tab })], { type: 'application/json' }),
    ),
  );
  addEventListener('pageshow', (event) => event.persisted && step('next', {}, () => ''));

  step('next', {}, (state) => (state.mine ? 'Welcome back. ' : ''));
})();
