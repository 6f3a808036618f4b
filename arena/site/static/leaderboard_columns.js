'use strict';
// The leaderboard's columns: what a row is sorted by, and what its cell shows.
(() => {
  const { format } = arena;
  const number = (text) => arena.el('td', { class: 'number' }, text);
  const words = (text) =>
    arena.el('td', { class: 'text' }, text ? arena.quoted(text) : format.ABSENT);

  function modelCell(row, model, { nTied }) {
    const cell = arena.el('th', { scope: 'row', class: 'model' }, arena.modelLink(model));
    if (!row.tied_with_first && !model.maker) return cell;
    const mark = row.tied_with_first
      ? arena.el('span', { class: 'mark' }, nTied === 1 ? 'best' : 'may be best')
      : null;
    cell.append(arena.el('span', { class: 'under' }, mark, ' ', arena.quoted(model.maker ?? '')));
    return cell;
  }

  const rankCell = (row) =>
    arena.el(
      'td',
      { class: 'rank' },
      arena.el('b', {}, format.fixed(row.rank)),
      ' ',
      arena.el('small', {}, format.possibleRanks(row)),
    );

  const latency = (key) => (row) => row.latency_ms?.[key] ?? null;

  /** value: to sort by, null last; best: the direction of a first click; cell: (row, model, table). */
  arena.columns = {
    rank: { value: (row) => row.rank, best: 1, cell: rankCell },
    model: { value: (row) => row.model.toLowerCase(), best: 1, cell: modelCell },
    rating: {
      value: (row) => row.rating,
      best: -1,
      cell: (row, model, { ends }) =>
        arena.el(
          'td',
          { class: 'drawn rating' },
          arena.el('span', {}, format.rating(row)),
          arena.drawInterval(row, ends),
        ),
    },
    elo: { value: (row) => row.elo, best: -1, cell: (row) => number(format.withoutDecimals(row.elo)) },
    win_rate: {
      value: (row) => row.win_rate,
      best: -1,
      cell: (row) => number(format.percent(row.win_rate)),
    },
    wins: {
      value: (row) => row.wins,
      best: -1,
      cell: (row) =>
        arena.el(
          'td',
          { class: 'drawn wlt' },
          arena.el('span', {}, format.record(row)),
          arena.drawRecord(row),
        ),
    },
    ndcg: {
      value: (row) => row['ndcg@10'],
      best: -1,
      cell: (row) => number(format.fixed(row['ndcg@10'], 3)),
    },
    p50: {
      value: latency('p50'),
      best: 1,
      cell: (row) => number(format.milliseconds(latency('p50')(row))),
    },
    p90: {
      value: latency('p90'),
      best: 1,
      cell: (row) => number(format.milliseconds(latency('p90')(row))),
    },
    price: {
      value: (row, model) => model.price,
      best: 1,
      cell: (row, model) => number(format.price(model.price)),
    },
    dimension: {
      value: (row, model) => model.dimension,
      best: 1,
      cell: (row, model) => number(format.fixed(model.dimension)),
    },
    license: {
      value: (row, model) => model.license?.toLowerCase() || null,
      best: 1,
      cell: (row, model) => words(model.license),
    },
    provider: {
      value: (row, model) => model.provider?.toLowerCase() || null,
      best: 1,
      cell: (row, model) => words(model.provider),
    },
    released: {
      value: (row, model) => model.release_date,
      best: -1,
      cell: (row, model) => arena.el('td', { class: 'text' }, model.release_date || format.ABSENT),
    },
  };
  if (arena.cost) {
    arena.columns.cost = {
      value: (row) => arena.cost.now.get(row.model)?.per_month ?? null,
      best: 1,
      cell: (row) => number(arena.cost.dollars(arena.cost.now.get(row.model)?.per_month)),
    };
  }
})();
