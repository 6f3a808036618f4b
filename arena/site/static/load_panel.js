'use strict';
// The load that a reader types: costs, recommendation and chart follow at once.
(() => {
  const site = arena.get('site');
  const { cost } = arena;
  const form = arena.byId('load');
  const problem = arena.byId('load-problem');
  const table = arena.byId('costs');
  const TABLE = ['per_month', 'indexing', 'queries', 'storage', 'fixed', 'once'];
  const UNITS = { k: 1e3, m: 1e6, b: 1e9 };
  const KIND = {
    title: 'US dollars a month',
    lacks: 'their cost is unknown',
    has: 'whose cost is known',
    unit: cost.dollars,
    tick: (value) => `$${cost.number(value)}`,
    cheaper: { most: 'cheapest' },
  };
  const fields = [...form.elements].filter((field) => field.name);
  const written = (key) => (cost.usage[key] === null ? '' : cost.number(cost.usage[key]));

  /** A number of 0 or more as `arena rate --documents` reads it: 1M, 200k, 1,000,000; else NaN. */
  function quantity(text) {
    const plain = text.trim().replace(/[,_]/g, '').toLowerCase();
    const found = /^(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)([kmb]?)$/.exec(plain);
    const value = found ? Number(found[1]) * (UNITS[found[2]] ?? 1) : NaN;
    return value <= 1e15 ? value : NaN;
  }

  /** The load of the fields, and those that hold no quantity. */
  function readLoad() {
    const usage = { ...cost.usage };
    const wrong = [];
    for (const field of fields) {
      const value = quantity(field.value);
      const none = field.value.trim() === '' && field.name === 'price_per_hour';
      if (none) usage[field.name] = null;
      else if (Number.isNaN(value)) wrong.push(field);
      else usage[field.name] = value;
    }
    return { usage, wrong };
  }

  function drawTable() {
    for (const line of table.tBodies[0].rows) {
      const costs = cost.now.get(line.dataset.model);
      TABLE.forEach((part, at) => {
        line.cells[at + 1].textContent = cost.dollars(costs?.[part]);
      });
    }
  }

  function drawAdvice(usage) {
    arena.byId('advice').replaceChildren(
      ...cost
        .advice(cost.now, usage)
        .map((sentence, at) => arena.el('p', { class: at ? null : 'finding' }, arena.quoted(sentence))),
    );
  }

  function drawChart() {
    const rows = site.overall.map((row) => ({
      ...row,
      name: row.model,
      x: cost.now.get(row.model)?.per_month ?? null,
    }));
    arena.drawFront(arena.byId('cost-chart'), rows, KIND);
  }

  function draw() {
    const { usage, wrong } = readLoad();
    for (const field of fields) {
      if (wrong.includes(field)) field.setAttribute('aria-invalid', 'true');
      else field.removeAttribute('aria-invalid');
    }
    problem.textContent = wrong.length
      ? `${wrong.map((field) => field.labels[0].textContent.trim()).join(', ')}: expected 0 or more, such as 200k or 1M.`
      : '';
    if (wrong.length) return; // the figures stay those of the last load that made sense
    cost.now = cost.monthlyCosts(usage);
    drawAdvice(usage);
    drawTable();
    drawChart();
    document.dispatchEvent(new CustomEvent('arena-cost'));
  }

  /** Put what the address says into the fields, else the load of the experiment. */
  function apply() {
    const state = arena.readState();
    for (const field of fields) field.value = state[field.name] ?? written(field.name);
    draw();
  }

  function changed() {
    const state = arena.readState();
    for (const field of fields) {
      if (field.value === written(field.name)) delete state[field.name];
      else state[field.name] = field.value;
    }
    arena.writeState(state);
    draw();
  }

  form.addEventListener('input', changed);
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('reset', (event) => {
    event.preventDefault();
    for (const field of fields) field.value = written(field.name);
    changed();
  });
  window.addEventListener('hashchange', apply);
  apply();
})();
