'use strict';
// Every figure of two models side by side, the better of each pair ticked.
(() => {
  const { el, format } = arena;
  const latency = (key) => (row) => row?.latency_ms?.[key] ?? null;

  const MEASURED = 13; // the figures that each data set has of its own

  /** label, value(row, model), text(value, row), and which way is better: 1 more, -1 less, 0 neither. */
  const FIGURES = [
    [
      'Rank',
      (row) => row?.rank ?? null,
      (value, row) =>
        `${format.ordinal(value)} of ${row.n_models}${row.rank_lower === row.rank_upper ? '' : `, ${format.possibleRanks(row)}`}`,
      -1,
    ],
    ['Rating', (row) => row?.rating ?? null, (value, row) => format.rating(row), 1],
    ['Elo', (row) => row?.elo ?? null, format.withoutDecimals, 1],
    ['Win rate', (row) => row?.win_rate ?? null, format.percent, 1],
    ['Won–lost–tied', (row) => row?.battles ?? null, (value, row) => format.record(row), 0],
    ['nDCG@5', (row) => row?.['ndcg@5'] ?? null, (value) => format.fixed(value, 3), 1],
    ['nDCG@10', (row) => row?.['ndcg@10'] ?? null, (value) => format.fixed(value, 3), 1],
    ['Recall@5', (row) => row?.['recall@5'] ?? null, (value) => format.fixed(value, 3), 1],
    ['Recall@10', (row) => row?.['recall@10'] ?? null, (value) => format.fixed(value, 3), 1],
    ['Latency, mean', latency('mean'), format.milliseconds, -1],
    ['Latency p50', latency('p50'), format.milliseconds, -1],
    ['Latency p90', latency('p90'), format.milliseconds, -1],
    ['Latency p99', latency('p99'), format.milliseconds, -1],
    ['Price per million tokens', (row, model) => model.price, format.price, -1],
    ['Dimension', (row, model) => model.dimension, (value) => format.fixed(value), 0],
    ['Licence', (row, model) => model.license || null, (value) => value, 0],
    ['Provider', (row, model) => model.provider || null, (value) => value, 0],
    ['Released', (row, model) => model.release_date, (value) => value, 0],
  ];

  function cells(values, texts, better) {
    const [a, b] = values;
    const known = a !== null && b !== null && better !== 0 && a !== b && texts[0] !== texts[1];
    const lead = known ? ((a - b) * better > 0 ? 0 : 1) : null;
    return texts.map((text, side) =>
      el(
        'td',
        { class: lead === side ? 'better' : null },
        arena.quoted(text),
        lead === side ? el('span', { class: 'unseen' }, ' (better)') : null,
      ),
    );
  }

  function tableOf(title, rows, models, figures) {
    const lines = figures.flatMap(([label, value, text, better]) => {
      const values = models.map((model, side) => value(rows[side], model) ?? null);
      if (values.every((each) => each === null)) return [];
      const texts = values.map((each, side) =>
        each === null ? format.ABSENT : String(text(each, rows[side])),
      );
      return [el('tr', {}, el('th', { scope: 'row' }, label), ...cells(values, texts, better))];
    });
    return el(
      'table',
      { class: 'plain-table' },
      el('caption', { class: 'unseen' }, title),
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          el('th', { scope: 'col' }, 'Figure'),
          ...models.map((model) => el('th', { scope: 'col' }, arena.modelLink(model))),
        ),
      ),
      el('tbody', {}, ...lines),
    );
  }

  /** Tables of all figures: over all data sets, and folded on each. */
  arena.figures = (site, models) => {
    const rowsIn = (rows) =>
      models.map((model) => rows.find((row) => row.model === model.name) ?? null);
    const folded = site.datasets.length > 1 ? site.datasets : [];
    return [
      tableOf('All data sets together', rowsIn(site.overall), models, FIGURES),
      ...folded.map((dataset) =>
        el(
          'details',
          {},
          el('summary', {}, 'On ', arena.quoted(dataset)),
          tableOf(
            dataset,
            rowsIn(arena.own(site.by_dataset, dataset) ?? []),
            models,
            FIGURES.slice(0, MEASURED),
          ),
        ),
      ),
    ];
  };
})();
