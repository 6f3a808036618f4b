'use strict';
// The queries on which two models met: where A beat B, where B beat A, and what was in doubt.
(() => {
  const FIRST = 12; // queries of a group shown at once
  const site = arena.get('site');
  const { el, format } = arena;

  const GROUPS = [
    ['a', (a, b) => `${a.name} beat ${b.name}`],
    ['b', (a, b) => `${b.name} beat ${a.name}`],
    ['split', () => 'Each won once: the verdict changes with the order or the judge'],
    ['tie', () => 'Ties'],
  ];

  function outcomeOf({ a, b }) {
    if (a > 0 && b > 0) return 'split';
    if (a > 0) return 'a';
    return b > 0 ? 'b' : 'tie';
  }

  /** Battles of the same query together, in the order of the log. */
  function byQuery(battles, a) {
    const queries = new Map();
    for (const battle of battles) {
      const key = `${battle.dataset}/${battle.query}`;
      if (!queries.has(key))
        queries.set(key, { dataset: battle.dataset, query: battle.query, a: 0, b: 0, battles: [] });
      const query = queries.get(key);
      query.battles.push(battle);
      const { winner } = arena.sidesOf(battle);
      if (winner) query[winner.name === a.name ? 'a' : 'b'] += 1;
    }
    return [...queries.values()];
  }

  async function judged(battle) {
    const reply = await arena.replyOf(battle);
    const { first } = arena.sidesOf(battle);
    const judge = site.judges[battle.judge];
    return el(
      'div',
      {},
      el(
        'p',
        {},
        arena.quoted(first.name),
        ' shown first',
        ...(site.judges.length > 1 ? [', asked: ', arena.quoted(judge?.name ?? '')] : []),
        '. ',
        ...arena.verdictOf(battle),
        ' ',
        el(
          'a',
          { href: arena.linkTo('battles.html', { row: battle.row }) },
          `Battle ${format.fixed(battle.row)}`,
        ),
      ),
      ...[arena.replyBlock(reply)].filter(Boolean),
    );
  }

  /** What each model's list is worth by the grades, or null where that is not known. */
  function gradesOf({ ndcg }, models) {
    const values = models.map((model) => arena.own(ndcg ?? {}, model.name) ?? null);
    return values.includes(null) ? null : values;
  }

  /** Why, at a glance: the verdicts of both orders and judges, and the nDCG of both lists. */
  function glance({ a, b, battles, grades }) {
    const verdicts = `${a}–${b}–${battles.length - a - b}`;
    const ndcg = grades && `nDCG ${grades.map((value) => format.fixed(value, 2)).join(' to ')}`;
    return el(
      'span',
      { class: 'glance' },
      el('span', { class: 'unseen' }, ': A won, B won, tied: '),
      verdicts,
      ndcg && el('span', {}, ndcg),
    );
  }

  function duel(found, models) {
    const body = el('div', {});
    const details = el(
      'details',
      {},
      el(
        'summary',
        {},
        el('span', { class: 'asked' }, arena.quoted(arena.begin(found.text))),
        site.datasets.length > 1
          ? el('small', {}, ' ', arena.quoted(site.datasets[found.dataset]))
          : null,
        glance(found),
      ),
      body,
    );
    details.addEventListener('toggle', async () => {
      if (!details.open || body.childNodes.length) return;
      const showing = await arena.showing(found.dataset, found.query);
      const sides = models.map((model, at) => ({ label: 'AB'[at], model }));
      body.append(
        ...(await Promise.all(found.battles.map(judged))),
        arena.twoLists(sides, showing, 'h4'),
      );
    });
    return el('li', {}, details);
  }

  function group(title, found, models) {
    const items = found.map((each) => duel(each, models));
    const list = el('ol', { class: 'query-list' }, ...items.slice(0, FIRST));
    const section = el(
      'section',
      {},
      el('h3', {}, arena.quoted(title), ` (${format.count(found.length, 'query', 'queries')})`),
      list,
    );
    if (items.length > FIRST) {
      const more = el('button', { type: 'button' }, `Show the other ${items.length - FIRST}`);
      more.addEventListener('click', () => {
        list.append(...items.slice(FIRST));
        more.remove();
      });
      section.append(more);
    }
    return section;
  }

  /** The most telling first: where the grades say most loudly what the verdict says. */
  function byGrades(queries, outcome) {
    const sign = { a: 1, b: -1 }[outcome] ?? 0;
    const lead = ({ grades }) => (grades ? sign * (grades[0] - grades[1]) : -Infinity);
    return sign ? queries.sort((p, q) => (lead(p) < lead(q)) - (lead(p) > lead(q))) : queries;
  }

  /** The queries of these battles between two models, grouped by who won; and how many they are. */
  arena.duels = async (battles, models) => {
    const queries = byQuery(battles, models[0]);
    for (const found of queries) {
      const query = await arena.query(found.dataset, found.query);
      found.text = arena.queryText(query);
      found.grades = gradesOf(query, models);
    }
    const sections = [];
    for (const [outcome, title] of GROUPS) {
      const found = queries.filter((query) => outcomeOf(query) === outcome);
      if (found.length) sections.push(group(title(...models), byGrades(found, outcome), models));
    }
    return [sections, queries.length];
  };
})();
