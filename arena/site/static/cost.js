'use strict';
// Dollars a month and the model to take: the same arithmetic and sentences as arena/cost.
(() => {
  const data = arena.get('cost');
  const [MONTHS, SECONDS_PER_HOUR, GB, MANY_DIGITS] = [12, 3600, 1e9, 1e15];
  const PARTS = ['indexing', 'queries', 'storage', 'fixed', 'per_month', 'once'];
  const absent = (value) => value === null || value === undefined;

  /** The sum; null if any part is unknown. */
  const sum = (...amounts) => (amounts.some(absent) ? null : amounts.reduce((a, b) => a + b, 0));

  /** The product of figures that may be unknown: 0 if any factor is 0; `needs` gets what is missing. */
  function product(needs, known, ...factors) {
    if (known === 0 || factors.some(([value]) => value === 0)) return 0;
    const unknown = factors.filter(([value]) => absent(value)).map(([, key]) => key);
    for (const key of unknown) needs.add(key);
    return unknown.length ? null : factors.reduce((total, [value]) => total * value, known);
  }

  function ownCost(model, rates, usage) {
    if (absent(rates.price_per_month)) {
      const nothing = Object.fromEntries(PARTS.map((part) => [part, null]));
      return { model, ...nothing, needs: [rates.needs_price], machine_is_free: false };
    }
    const needs = new Set();
    const passages = (usage.passages_per_document || 1) * rates.vectors_per_passage;
    let tokens = usage.tokens_per_document;
    if (absent(tokens) && !absent(rates.tokens_per_passage))
      tokens = rates.tokens_per_passage * passages;
    const ofQuery = usage.tokens_per_query ?? rates.tokens_per_query;
    const price = [rates.price_per_1m_tokens, rates.needs_price];
    let hour = rates.price_per_hour ?? usage.price_per_hour;
    const unpriced = absent(hour);
    if (unpriced && rates.machine !== 'server') hour = 0;
    const once = sum(
      product(needs, usage.documents / 1e6, [tokens, 'tokens_per_document'], price),
      product(
        needs,
        (usage.documents * passages) / SECONDS_PER_HOUR,
        [rates.seconds_per_passage, 'price_per_month'],
        [hour, 'price_per_hour'],
      ),
    );
    const queries = sum(
      product(needs, usage.queries_per_month / 1e6, [ofQuery, 'tokens_per_query'], price),
      product(
        needs,
        usage.queries_per_month / SECONDS_PER_HOUR,
        [rates.seconds_per_query, 'price_per_month'],
        [hour, 'price_per_hour'],
      ),
      (usage.queries_per_month / 1000) * rates.price_per_1k_queries,
    );
    const storage = product(
      needs,
      ((usage.documents * passages) / GB) * usage.price_per_gb_month,
      [rates.bytes_per_passage, 'measurements of `arena retrieve`'],
    );
    const fixed = rates.price_per_month;
    const again = usage.reindex_per_year / MONTHS;
    const indexing = again === 0 ? 0 : once === null ? null : once * again;
    return {
      model,
      indexing,
      queries,
      storage,
      fixed,
      per_month: sum(indexing, queries, storage, fixed),
      once,
      needs: [...needs],
      machine_is_free: rates.machine === 'local' && unpriced,
    };
  }

  /** A model and those that it is made of, each once. */
  function allBelow(model, rates) {
    const names = new Set([model]); // grows on the way
    for (const name of names) for (const other of rates.get(name)?.below ?? []) names.add(other);
    return [...names];
  }

  const UNKNOWN = { price_per_month: null, needs_price: 'its prices in an arena.toml' };

  /** Model → what it costs a month under a load; unknown is null, never 0. */
  function monthlyCosts(usage) {
    const rates = new Map(Object.entries(data.rates));
    const own = new Map([...rates].map(([model, each]) => [model, ownCost(model, each, usage)]));
    const all = new Map();
    for (const model of rates.keys()) {
      const names = allBelow(model, rates);
      const costs = names.map((name) => own.get(name) ?? ownCost(name, UNKNOWN, usage));
      const whole = { model };
      for (const part of PARTS)
        whole[part] = costs.length > 1 ? sum(...costs.map((cost) => cost[part])) : costs[0][part];
      whole.needs = [...new Set(costs.flatMap((cost) => cost.needs))];
      whole.machine_is_free = costs.some((cost) => cost.machine_is_free);
      all.set(model, whole);
    }
    return all;
  }

  /** A number with this many decimals and commas between thousands. */
  function rounded(value, digits = 0) {
    if (Math.abs(value) >= MANY_DIGITS) return value.toExponential(2);
    return arena.format.fixed(value, digits).replace('−', '-');
  }

  function number(value) {
    const [whole, decimals = ''] = rounded(value, 6).split('.');
    const kept = decimals.replace(/0+$/, '');
    return kept ? `${whole}.${kept}` : whole;
  }

  function signed(value) {
    const text = rounded(value);
    return value > 0 && text !== '0' ? `+${text}` : text;
  }

  function dollars(value) {
    if (absent(value)) return arena.format.ABSENT;
    if (value > 0 && value < 0.005) return 'under $0.01';
    return `$${rounded(value, value < 99.995 ? 2 : 0)}`;
  }

  const byKeys = (keys) => (p, q) => {
    const [a, b] = [keys(p), keys(q)];
    for (const [place, key] of a.entries()) if (key !== b[place]) return key < b[place] ? -1 : 1;
    return 0;
  };
  const cheapest = byKeys((c) => [c.cost.per_month ?? 0, -(c.rating ?? 0), c.model]);
  const bestRated = byKeys((c) => [-(c.rating ?? 0), c.cost.per_month ?? 0, c.model]);
  const more = (c, take) =>
    absent(c.cost.per_month) || absent(take.cost.per_month)
      ? 0
      : c.cost.per_month - take.cost.per_month;

  function gapBetween(model, take) {
    for (const [a, b, elo, lower, upper] of data.gaps) {
      if (a === model && b === take) return { elo, lower, upper };
      if (a === take && b === model) return { elo: -elo, lower: -upper, upper: -lower };
    }
    return null;
  }

  function ratingChange(model, take) {
    const gap = gapBetween(model, take);
    if (!gap) return 'another rating, whose interval is unknown';
    const preferred = 1 / (1 + 10 ** (-gap.elo / 400));
    return (
      `${signed(gap.elo)} Elo (${signed(gap.lower)} to ${signed(gap.upper)}): its list is ` +
      `preferred to that of ${take} for ${rounded(100 * preferred)}% of queries instead of 50%`
    );
  }

  function assumed(candidates, usage) {
    const each = usage.passages_per_document || 1;
    const again = usage.reindex_per_year;
    const times = again === 0 ? 'never' : again === 1 ? 'once a year' : `${number(again)} times a year`;
    const parts = [
      `${number(usage.documents)} documents${each === 1 ? '' : ` of ${number(each)} passages each`}`,
      `${number(usage.queries_per_month)} queries a month`,
      `re-indexed ${times}`,
      `$${number(usage.price_per_gb_month)} for a GB of vectors a month`,
    ];
    if (candidates.some(({ cost }) => cost.machine_is_free))
      parts.push('no cost for the machine of local models (price_per_hour is not set)');
    return `Assumed: ${parts.join(', ')}.`;
  }

  function unknown(candidates) {
    const all = candidates.filter(({ cost }) => absent(cost.per_month));
    const named = (kept) => kept.map((c) => `${c.model} (set ${c.cost.needs.join(', ')})`).join(', ');
    const [best, others] = [true, false].map((may) => all.filter((c) => c.may_be_best === may));
    return [
      ...(best.length ? [`May be best at an unknown cost: ${named(best)}.`] : []),
      ...(others.length ? [`Cost unknown: ${named(others)}.`] : []),
    ];
  }

  function takeSentence(take, nBest, nModels) {
    const lead = `Take ${take.model}: ${dollars(take.cost.per_month)} a month`;
    if (nBest === 1) return `${lead}, the only one of ${nModels} models that may be best.`;
    return `${lead}, the cheapest of the ${nBest} models that may be best.`;
  }

  /** The recommendation in sentences, the assumptions last. */
  function advice(costs, usage) {
    const candidates = data.candidates.map((each) => ({ ...each, cost: costs.get(each.model) }));
    const best = candidates.filter((c) => c.may_be_best);
    const ending = [...unknown(candidates), assumed(candidates, usage)];
    const take = best.filter((c) => !absent(c.cost.per_month)).sort(cheapest)[0];
    if (!take) {
      const why = best.length
        ? 'the cost of every model that may be best is unknown.'
        : 'there are no rank intervals yet; judge more queries.';
      return [`No recommendation: ${why}`, ...ending];
    }
    const higher = (c) => more(c, take) > 0 && (c.rating ?? 0) > (take.rating ?? 0);
    const up = best.filter(higher).sort(cheapest)[0];
    const down = candidates
      .filter((c) => !absent(c.rating) && more(c, take) < 0)
      .sort(bestRated)[0];
    return [
      takeSentence(take, best.length, candidates.length),
      up
        ? `+${dollars(more(up, take))} a month buys ${up.model} with ${ratingChange(up.model, take.model)}.`
        : `No model that may be best costs more and is rated higher than ${take.model}.`,
      ...(down
        ? [
            `-${dollars(-more(down, take))} a month is ${down.model} with ` +
              `${ratingChange(down.model, take.model)}.`,
          ]
        : []),
      ...ending,
    ];
  }

  arena.cost = { usage: data.usage, monthlyCosts, advice, dollars, number, PARTS };
  arena.cost.now = monthlyCosts(data.usage); // replaced as the reader types another load
})();
