'use strict';
// Figures as the pages write them: the same words as the filters of arena/site/render.py.
(() => {
  const ABSENT = '–';
  const absent = (value) => value === null || value === undefined;

  function fixed(value, digits = 0) {
    if (absent(value)) return ABSENT;
    const text = value
      .toFixed(digits)
      .replace(/^-(?=0(\.0*)?$)/, '')
      .replace('-', '−');
    const [whole, decimals] = text.split('.');
    const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',');
    return decimals ? `${grouped}.${decimals}` : grouped;
  }

  const withoutDecimals = (value) => fixed(value).replaceAll(',', '');
  const percent = (share) => (absent(share) ? ABSENT : `${fixed(share * 100, 1)}%`);

  function sure(probability) {
    if (absent(probability)) return ABSENT;
    if (probability < 0.001) return '<0.1%';
    return probability > 0.999 ? '>99.9%' : percent(probability);
  }

  function milliseconds(value) {
    if (absent(value)) return ABSENT;
    if (value >= 1000) return `${fixed(value / 1000, 2)} s`;
    return `${fixed(value, value < 10 ? 2 : value < 100 ? 1 : 0)} ms`;
  }

  function price(value) {
    if (absent(value)) return ABSENT;
    const [whole, cents] = fixed(value, 6).split('.');
    return `$${whole}.${cents.replace(/0+$/, '').padEnd(2, '0')}`;
  }

  function ordinal(rank) {
    if (absent(rank)) return ABSENT;
    const teens = [11, 12, 13].includes(rank % 100);
    return rank + (teens ? 'th' : ({ 1: 'st', 2: 'nd', 3: 'rd' }[rank % 10] ?? 'th'));
  }

  function rating(row) {
    if (absent(row.rating)) return ABSENT;
    const people = absent(row.corrected)
      ? ''
      : `; by people ${withoutDecimals(row.corrected)} ± ${withoutDecimals((row.corrected_upper - row.corrected_lower) / 2)}`;
    if (absent(row.lower) || absent(row.upper)) return withoutDecimals(row.rating) + people;
    return `${withoutDecimals(row.rating)} ± ${withoutDecimals((row.upper - row.lower) / 2)}${people}`;
  }

  function possibleRanks(row) {
    const { rank_lower: lower, rank_upper: upper } = row;
    if (absent(lower) || lower === upper) return '';
    return `may be ${ordinal(lower)} to ${ordinal(upper)}`;
  }

  const record = (row) => [row.wins, row.losses, row.ties].map((n) => fixed(n)).join('–');

  /** 1 battle, 2 battles. */
  const count = (n, one, many = `${one}s`) => `${fixed(n)} ${n === 1 ? one : many}`;

  arena.format = {
    ABSENT,
    fixed,
    withoutDecimals,
    percent,
    sure,
    milliseconds,
    price,
    ordinal,
    rating,
    possibleRanks,
    record,
    count,
  };
})();
