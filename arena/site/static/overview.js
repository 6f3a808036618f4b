'use strict';
// Beneath the leaderboard's table: its charts and the table of every pair, for the chosen data set.
(() => {
  const site = arena.get('site');
  const models = new Map(site.models.map((model) => [model.name, model]));
  const kind = arena.byId('matrix-kind');
  if (!kind) return; // nothing has been judged yet
  let dataset = '';

  const PRICE = {
    title: 'US dollars per million tokens',
    lacks: 'their price is not known',
    has: 'whose price is known',
    unit: arena.format.price,
    tick: (value) => arena.format.price(value),
    cheaper: { most: 'cheapest' },
  };
  const LATENCY = {
    title: 'latency, half of the queries are answered within',
    lacks: 'their latency was not measured',
    has: 'whose latency was measured',
    unit: arena.format.milliseconds,
    tick: (value) => arena.format.milliseconds(value).replace(/\.?0+(?= )/, ''),
    cheaper: { most: 'fastest' },
  };

  function intervalWords(rows) {
    const [first] = rows.filter((row) => row.rating !== null);
    if (!first) return [];
    const tied = rows.filter((row) => row.tied_with_first && row !== first).map((row) => row.model);
    const lead = [arena.quoted(first.model), ` leads with ${arena.format.rating(first)}. `];
    if (!tied.length) return [...lead, 'It can be told apart from all others.'];
    const others = tied.length <= 6 ? arena.listed(tied) : [`${tied.length} others`];
    return [...lead, 'It cannot be told apart from ', ...others, '.'];
  }

  async function drawPairs(rows) {
    kind.disabled = Boolean(dataset); // how sure is known over all data sets alone
    if (dataset) kind.value = 'won';
    arena.drawMatrix(arena.byId('matrix'), {
      names: rows.map((row) => row.model),
      pairs: await arena.pairs(dataset),
      models: site.models,
      kind: kind.value,
    });
  }

  function draw() {
    const rows = arena.rowsOf(dataset);
    const drawn = rows.map((row) => ({ ...row, name: row.model }));
    arena.drawIntervals(arena.byId('intervals'), drawn, intervalWords(rows));
    arena.drawFront(
      arena.byId('price-chart'),
      drawn.map((row) => ({ ...row, x: models.get(row.name).price })),
      PRICE,
    );
    arena.drawFront(
      arena.byId('latency-chart'),
      drawn.map((row) => ({ ...row, x: row.latency_ms?.p50 ?? null })),
      LATENCY,
    );
    arena.fitCharts(); // two that share a line are as wide as the second one leaves the first
    drawPairs(rows);
  }

  document.addEventListener('arena-dataset', (event) => {
    dataset = event.detail;
    draw();
  });
  kind.addEventListener('change', () => drawPairs(arena.rowsOf(dataset)));
  dataset = arena.readState().dataset ?? '';
  if (!site.datasets.includes(dataset)) dataset = '';
  draw(); // at once: a picture or a print of the page may be taken as soon as it is loaded
})();
