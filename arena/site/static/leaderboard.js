'use strict';
// The leaderboard's table: another data set, another order, only some of the models.
(() => {
  const site = arena.get('site');
  const models = new Map(site.models.map((model) => [model.name, model]));
  const table = arena.byId('leaderboard');
  if (!table) return; // nothing has been judged yet
  const form = arena.byId('controls');
  const shown = arena.byId('shown');
  const DEFAULTS = {
    dataset: '',
    text: '',
    license: '',
    price: '',
    best: '',
    sort: 'rank',
    order: 'up',
  };
  let drawn = ''; // the data set in the table now; the page comes with all together

  /** The rows of a data set, or of all together. */
  arena.rowsOf = (dataset) =>
    dataset ? (arena.own(site.by_dataset, dataset) ?? []) : site.overall;

  function readState() {
    const state = { ...DEFAULTS, ...arena.readState() };
    if (!site.datasets.includes(state.dataset)) state.dataset = '';
    if (!Object.hasOwn(arena.columns, state.sort)) state.sort = 'rank';
    return state;
  }

  function writeState(state) {
    const changed = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
    arena.writeState(Object.fromEntries(changed));
  }

  function draw(rows) {
    const shared = {
      ends: arena.ends(rows),
      nTied: rows.filter((row) => row.tied_with_first).length,
    };
    table.tBodies[0].replaceChildren(
      ...rows.map((row) => {
        const model = models.get(row.model);
        const cells = Object.values(arena.columns).map((column) => column.cell(row, model, shared));
        return arena.el(
          'tr',
          { 'data-model': row.model, class: row.tied_with_first ? 'tied' : null },
          ...cells,
        );
      }),
    );
  }

  function compare(column, direction) {
    const value = (row) => column.value(row, models.get(row.model)) ?? null;
    return (first, second) => {
      const [a, b] = [value(first), value(second)];
      if (a === null || b === null) return (a === null) - (b === null); // what is not known comes last
      if (a === b) return first.rank - second.rank;
      return (a < b ? -1 : 1) * direction;
    };
  }

  function matches(state) {
    const text = state.text.toLowerCase();
    const price = Number(state.price);
    return (row) => {
      const model = models.get(row.model);
      const words = [model.name, model.maker, model.provider, model.license]
        .join(' ')
        .toLowerCase();
      return (
        words.includes(text) &&
        (!state.license || model.license === state.license) &&
        (state.price === '' || (model.price !== null && model.price <= price)) &&
        (!state.best || row.tied_with_first)
      );
    };
  }

  const linesOf = () =>
    new Map([...table.tBodies[0].rows].map((line) => [line.dataset.model, line]));

  /** How the rows are sorted, where not by rank: heard by those who do not see the arrow. */
  function orderOf({ sort, order }) {
    if (sort === DEFAULTS.sort && order === DEFAULTS.order) return '';
    const { textContent } = table.tHead.querySelector(`th[data-key="${sort}"]`);
    return `, by ${textContent} ${order === 'down' ? 'downwards' : 'upwards'}`;
  }

  function show(state) {
    const rows = arena.rowsOf(state.dataset);
    // During a run the data may be newer than the page, and know of another model.
    const known = linesOf();
    if (drawn !== state.dataset || rows.some((row) => !known.has(row.model))) draw(rows);
    const column = arena.columns[state.sort];
    const direction = state.order === 'down' ? -1 : 1;
    const lines = linesOf();
    const kept = rows.filter(matches(state));
    const visible = new Set(kept.map((row) => row.model));
    for (const [name, line] of lines) line.hidden = !visible.has(name);
    table.tBodies[0].append(
      ...[...rows].sort(compare(column, direction)).map((row) => lines.get(row.model)),
    );
    for (const head of table.tHead.rows[0].cells) {
      if (head.dataset.key === state.sort)
        head.setAttribute('aria-sort', direction > 0 ? 'ascending' : 'descending');
      else head.removeAttribute('aria-sort');
    }
    const all = site.datasets.length > 1 ? ' on all data sets together' : '';
    const where = state.dataset ? ` on ${state.dataset}` : all;
    const some = kept.length === rows.length ? '' : `${kept.length} of `;
    const count = arena.format.count(rows.length, 'model');
    shown.textContent = `${some}${count}${where}${orderOf(state)}`;
    if (drawn !== state.dataset)
      document.dispatchEvent(new CustomEvent('arena-dataset', { detail: state.dataset }));
    drawn = state.dataset;
  }

  function addSortButtons() {
    for (const head of table.tHead.rows[0].cells) {
      const button = arena.el('button', { type: 'button', class: 'sort' }, head.textContent);
      button.addEventListener('click', () => {
        const state = readState();
        const { best } = arena.columns[head.dataset.key];
        const again = state.sort === head.dataset.key;
        state.order = again ? (state.order === 'up' ? 'down' : 'up') : best > 0 ? 'up' : 'down';
        state.sort = head.dataset.key;
        writeState(state);
        show(state);
      });
      head.replaceChildren(button);
    }
  }

  function apply() {
    const state = readState();
    arena.fillForm(form, state);
    show({ ...state, ...arena.readForm(form) }); // without what no field can hold
  }

  function changed() {
    const state = { ...readState(), ...arena.readForm(form) };
    writeState(state);
    show(state);
  }

  form.addEventListener('input', changed);
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('reset', () => {
    const others = Object.entries(arena.readState()).filter(([key]) => !Object.hasOwn(DEFAULTS, key));
    arena.writeState(Object.fromEntries(others));
    setTimeout(apply);
  });
  window.addEventListener('hashchange', apply);
  document.addEventListener('arena-cost', () => {
    const { cost } = arena.columns;
    for (const [model, line] of linesOf()) line.lastElementChild.replaceWith(cost.cell({ model }));
    apply();
  });
  addSortButtons();
  apply();
})();
