'use strict';
// The log of battles, read file after file and only as far as somebody asks for more.
(() => {
  const site = arena.get('site');
  const { battles: nChunks, battles_total: total, rows_per_chunk: perChunk } = site.files;

  /** One battle as an object, from the columns of its chunk. */
  function battleAt(chunk, at) {
    const battle = { row: chunk.start + at };
    for (const [name, column] of Object.entries(chunk.columns)) battle[name] = column[at];
    return battle;
  }

  const chunkOf = (index) => arena.need(`battles/${index}`);
  const orders = new WeakMap(); // chunk → the places of its battles, the most telling first

  /**
   * The places of a chunk's battles: decided ones and those that flip with the order of the lists,
   * then ties, and lists that are the same last; both orders of a pair stay together.
   */
  function tellingFirst(chunk) {
    if (!orders.has(chunk)) {
      const { winner, flipped, source, other } = chunk.columns;
      const kind = (at) => (source[at] === 1 ? 2 : winner[at] !== 0 || flipped[at] === 1 ? 0 : 1);
      const twin = (at) => {
        const found = (other[at] ?? -1) - chunk.start;
        return found >= 0 && found < winner.length ? found : at;
      };
      const keys = winner.map((_, at) => [Math.min(kind(at), kind(twin(at))), Math.min(at, twin(at))]);
      const places = [...winner.keys()].sort(
        (p, q) => keys[p][0] - keys[q][0] || keys[p][1] - keys[q][1] || p - q,
      );
      orders.set(chunk, places);
    }
    return orders.get(chunk);
  }

  const placesOf = (chunk, order) =>
    order === 'log' ? [...chunk.columns.winner.keys()] : tellingFirst(chunk);

  /** The battle in a row of the log. */
  arena.battle = async (row) => {
    if (!Number.isInteger(row) || row < 0 || row >= total) return null;
    return battleAt(await chunkOf(Math.floor(row / perChunk)), row % perChunk);
  };

  /** As many battles from a place on, in the log's order or, file by file, the most telling first. */
  arena.battlesFrom = async (start, count, order) => {
    const places = Array.from({ length: count }, (_, at) => start + at);
    return Promise.all(
      places
        .filter((place) => place < total)
        .map(async (place) => {
          const chunk = await chunkOf(Math.floor(place / perChunk));
          return battleAt(chunk, placesOf(chunk, order)[place % perChunk]);
        }),
    );
  };

  /** Indices of the queries that hold all words, one set for each data set that was asked. */
  async function queriesWith(words, datasets) {
    const found = new Map();
    for (const dataset of datasets) {
      const { queries } = await arena.need(`queries/${dataset}`);
      const hits = queries.flatMap(({ text, id }, at) => {
        const lower = (text ?? id).toLowerCase();
        return words.every((word) => lower.includes(word)) ? [at] : [];
      });
      found.set(dataset, new Set(hits));
    }
    return found;
  }

  async function queryNamed(id, datasets) {
    const found = new Map();
    for (const dataset of datasets) {
      const { queries } = await arena.need(`queries/${dataset}`);
      found.set(dataset, new Set(queries.flatMap((query, at) => (query.id === id ? [at] : []))));
    }
    return found;
  }

  const indexOf = (names, name) => (name ? names.indexOf(name) : null);

  const WINNER = {
    first: (c, at) => c.winner[at] === 1,
    second: (c, at) => c.winner[at] === 2,
    tie: (c, at) => c.winner[at] === 0,
    model: (c, at, a) => c.winner[at] === (c.a[at] === a ? 1 : 2),
    against: (c, at, a) => c.winner[at] === (c.a[at] === a ? 2 : 1),
  };
  const SOURCES = ['judge', 'identical', 'cache'];

  /** Tests of columns at a place, for what a filter's state asks; all must hold. */
  async function testsOf(state) {
    const tests = [];
    const models = site.models.map((model) => model.name);
    const [dataset, a, b] = [
      indexOf(site.datasets, state.dataset),
      indexOf(models, state.a),
      indexOf(models, state.b),
    ];
    const judge = indexOf(
      site.judges.map((each) => each.name),
      state.judge,
    );
    if (dataset !== null) tests.push((c, at) => c.dataset[at] === dataset);
    if (a !== null) tests.push((c, at) => c.a[at] === a || c.b[at] === a);
    if (b !== null) tests.push((c, at) => c.a[at] === b || c.b[at] === b);
    if (judge !== null) tests.push((c, at) => c.judge[at] === judge);
    if (state.source) tests.push((c, at) => c.source[at] === SOURCES.indexOf(state.source));
    if (state.flipped === '1') tests.push((c, at) => c.flipped[at] === 1);
    if (state.qrels === '1') tests.push((c, at) => c.qrels[at] === 1);
    const outcome = arena.own(WINNER, state.winner);
    const ofModel = state.winner === 'model' || state.winner === 'against';
    if (outcome && !(ofModel && a === null)) tests.push((c, at) => outcome(c, at, a));
    const datasets =
      dataset === null ? site.datasets.map((_, at) => at) : [dataset].filter((at) => at >= 0);
    const words = (state.text ?? '').toLowerCase().split(/\s+/).filter(Boolean);
    const named = [];
    if (words.length) named.push(await queriesWith(words, datasets));
    if (state.query) named.push(await queryNamed(state.query, datasets));
    for (const found of named)
      tests.push((c, at) => found.get(c.dataset[at])?.has(c.query[at]) ?? false);
    return tests;
  }

  /**
   * The battles that a filter's state asks for, in the order that it asks for. Read on demand: a
   * chunk is loaded when its first battle is wanted. `seen(rows)` is told how far the log is read.
   */
  arena.battles = async function* battles(state, seen = () => {}) {
    const tests = await testsOf(state);
    for (let index = 0; index < nChunks; index += 1) {
      const chunk = await chunkOf(index);
      const { columns } = chunk;
      seen(Math.min(chunk.start + columns.winner.length, total));
      for (const at of placesOf(chunk, state.order)) {
        if (tests.every((test) => test(columns, at))) yield battleAt(chunk, at);
      }
      yield null; // a breath between files: progress is shown, and the reader may stop
    }
  };

  /** A query with its text and grades; logs of another make may not name theirs. */
  arena.query = async (dataset, at) => {
    if (at === null) return { id: 'query not named in the log', text: null, relevant: {} };
    return (await arena.need(`queries/${dataset}`)).queries[at];
  };

  /** A query's texts, grades and every model's documents. */
  arena.showing = async (dataset, at) => {
    const query = await arena.query(dataset, at);
    if (
      at === null ||
      Math.floor(at / site.files.shown_chunk) >= site.queries[site.datasets[dataset]].chunks
    )
      return { query, lists: {}, documents: {} };
    const { lists, documents } = await arena.need(
      `shown/${dataset}/${Math.floor(at / site.files.shown_chunk)}`,
    );
    return { query, lists: arena.own(lists, query.id) ?? {}, documents };
  };

  /** What the judge wrote in a battle: { text, prompt, at }, or null. */
  arena.replyOf = async (battle) => {
    if (battle.reply === null || battle.reply === undefined) return null;
    return (await arena.need(`replies/${battle.reply}`))[battle.row] ?? null;
  };

  /** The models of a battle, and who won it, in names. */
  arena.sidesOf = (battle) => {
    const [first, second] = [site.models[battle.a], site.models[battle.b]];
    return {
      first,
      second,
      winner: [null, first, second][battle.winner],
      loser: [null, second, first][battle.winner],
    };
  };
})();
