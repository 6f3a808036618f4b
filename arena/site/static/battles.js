'use strict';
// The browser of battles: filter, page, and open one; its state is in the address.
(() => {
  const PAGE = 40;
  const site = arena.get('site');
  const { el, format, byId } = arena;
  const total = site.files.battles_total;
  const [form, list, progress, article] = ['filters', 'list', 'progress', 'battle'].map(byId);
  const { title } = document;
  let search = null; // for what the filter asks; null where it asks nothing
  let searched = ''; // the filter of that search
  let drawing = 0; // what was asked for last is shown, however late the rest arrives

  const filterOf = ({ row, page, ...filter }) =>
    Object.fromEntries(Object.entries(filter).filter(([, value]) => value));

  const pageOf = (state) =>
    Math.max(1, Math.min(Number.parseInt(state.page, 10) || 1, Math.ceil(total / PAGE)));

  function tell() {
    const [read, all] = [format.fixed(search.read), format.fixed(total)];
    const matching = format.count(search.found.length, 'battle');
    progress.textContent = search.done
      ? `${matching} of ${all} match`
      : `${search.stopped ? 'Stopped. ' : ''}Read ${read} of ${all} battles: ${matching} match so far`;
  }

  /** Search until this many are found, with a button to stop. */
  async function find(wanted) {
    const mine = search;
    byId('stop').hidden = false;
    await mine.find(wanted, () => mine === search && tell());
    if (mine !== search) return;
    byId('stop').hidden = true;
    tell();
  }

  /** The battles of a page, and whether there are more. Without a filter a page is read directly. */
  async function battlesOf(page, filter) {
    const [start, end] = [(page - 1) * PAGE, page * PAGE];
    const asked = JSON.stringify(filter);
    const { order, ...tests } = filter;
    if (!Object.keys(tests).length) {
      search = null;
      searched = '';
      byId('stop').hidden = true;
      progress.textContent = `${format.count(total, 'battle')} in the log`;
      return [await arena.battlesFrom(start, PAGE, order), end < total];
    }
    if (asked !== searched) {
      search?.stop();
      search = arena.search(filter);
      searched = asked;
    }
    const mine = search;
    await find(end + 1);
    return [mine.found.slice(start, end), mine.found.length > end];
  }

  function linkOf(state) {
    const place = { ...filterOf(state), ...(state.page ? { page: state.page } : {}) };
    return ({ row }) => `#${new URLSearchParams({ ...place, row })}`;
  }

  async function showPage(state) {
    const mine = ++drawing;
    const page = pageOf(state);
    const [battles, more] = await battlesOf(page, filterOf(state));
    const items = await arena.entries(battles, linkOf(state));
    if (mine !== drawing) return;
    list.replaceChildren(...items);
    const start = (page - 1) * PAGE;
    byId('page').textContent = battles.length
      ? `Battles ${format.fixed(start + 1)} to ${format.fixed(start + battles.length)}`
      : 'No battle matches';
    byId('previous').disabled = page === 1;
    byId('next').disabled = !more;
    byId('count').hidden = !search || search.done;
  }

  function missing(back) {
    return [
      el('p', { class: 'crumb' }, back),
      el('h1', { id: 'battle-title', tabindex: '-1' }, 'No such battle'),
      el('p', {}, `The log has ${format.count(total, 'battle')}.`),
    ];
  }

  async function showBattle({ row, ...rest }) {
    const mine = ++drawing;
    const battle = /^\d+$/.test(row) ? await arena.battle(Number(row)) : null;
    const back = el('a', { href: `#${new URLSearchParams(rest)}` }, 'All battles');
    const parts = battle ? await arena.battleParts(battle, back) : missing(back);
    if (mine !== drawing) return;
    article.dataset.row = battle?.row ?? '';
    article.replaceChildren(...parts);
    document.title = `${arena.begin(byId('battle-title').textContent, 80)} · ${title}`;
    byId('battle-title').focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  /** Back from a battle, the keyboard goes on from the line that led to it. */
  function returnTo(row) {
    document.title = title;
    const line = list.querySelector(`a[data-row="${row}"]`) ?? byId('main');
    line.focus();
  }

  async function apply() {
    const state = arena.readState();
    const one = 'row' in state;
    const left = article.hidden ? null : article.dataset.row;
    byId('browse').hidden = one;
    article.hidden = !one;
    try {
      if (one) await showBattle(state);
      else {
        arena.fillForm(form, state);
        offerOutcomes(state);
        sayQuery(state);
        await showPage(state);
        if (left !== null) returnTo(left);
      }
    } catch (error) {
      progress.textContent = `The battles cannot be shown: ${error.message}`;
      byId('browse').hidden = false;
    }
  }

  /** A link may ask for one query, which no field of the form holds. */
  function sayQuery({ query }) {
    byId('only').hidden = !query;
    byId('only').replaceChildren(
      'Only the query ',
      arena.quoted(query ?? ''),
      '; Reset shows all.',
    );
  }

  /** "The model won" asks for a model. */
  function offerOutcomes(state) {
    for (const option of form.elements.winner.options) {
      if (option.value === 'model' || option.value === 'against') option.disabled = !state.a;
    }
  }

  function changed() {
    const { query } = arena.readState();
    const state = arena.readForm(form);
    if (!state.a && ['model', 'against'].includes(state.winner)) state.winner = '';
    arena.writeState({ ...state, query: query ?? '' });
    apply();
  }

  function turn(by) {
    const state = arena.readState();
    const page = pageOf(state) + by;
    arena.writeState({ ...state, page: page > 1 ? page : '' }, { push: true });
    apply().then(() => list.scrollIntoView({ block: 'nearest' }));
  }

  let typing;
  form.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(changed, 150);
  });
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('reset', () => {
    arena.writeState({});
    setTimeout(apply);
  });
  byId('previous').addEventListener('click', () => turn(-1));
  byId('next').addEventListener('click', () => turn(1));
  byId('stop').addEventListener('click', () => search?.stop());
  byId('count').addEventListener('click', async () => {
    byId('count').hidden = true;
    await find(Infinity);
    apply();
  });
  addEventListener('popstate', apply);
  apply();
})();
