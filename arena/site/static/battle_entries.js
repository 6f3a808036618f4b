'use strict';
// A page of battles: those on one query beneath it, and both orders of a pair as one line.
(() => {
  const site = arena.get('site');
  const { el } = arena;

  /** Battles with the same pair in the other order, where that is on the page too. */
  function pairUp(battles) {
    const onPage = new Map(battles.map((battle) => [battle.row, battle]));
    const told = new Set();
    const pairs = [];
    for (const battle of battles) {
      if (told.has(battle.row)) continue;
      const other = onPage.get(battle.other) ?? null;
      if (other) told.add(other.row);
      pairs.push([battle, other]);
    }
    return pairs;
  }

  /** Runs of battles on the same query, in the order of the page. */
  function byQuery(pairs) {
    const groups = [];
    for (const pair of pairs) {
      const [{ dataset, query }] = pair;
      const last = groups.at(-1);
      if (last && last.dataset === dataset && last.query === query) last.pairs.push(pair);
      else groups.push({ dataset, query, pairs: [pair] });
    }
    return groups;
  }

  /** Who won, and in which order of the lists: [words of the link, words behind it]. */
  function outcome(battle, other) {
    const { first, second, winner, loser } = arena.sidesOf(battle);
    const name = (model, tag = 'span') => arena.quoted(model.name, tag);
    const beat = (better, worse) => [name(better, 'b'), ' beat ', name(worse)];
    const tied = [name(first), ' and ', name(second), ' tied'];
    if (!other)
      return [winner ? beat(winner, loser) : tied, [arena.quoted(first.name), ' shown first']];
    const turned = arena.sidesOf(other);
    if (battle.winner === 0 && other.winner === 0) return [tied, ['in both orders']];
    if (battle.winner === 0)
      return [beat(turned.winner, turned.loser), ['in one order, a tie in the other']];
    if (other.winner === 0) return [beat(winner, loser), ['in one order, a tie in the other']];
    if (winner === turned.winner) return [beat(winner, loser), ['in both orders']];
    const place = battle.winner === 1 ? 'first' : 'second';
    return [[name(first), ' and ', name(second), ' won once each'], [`each when shown ${place}`]];
  }

  function line([battle, other], linkOf) {
    const [words, order] = outcome(battle, other);
    const flags = [battle, other].filter(Boolean).flatMap(arena.flagsOf);
    const once = new Map(flags.map((flag) => [flag.textContent, flag]));
    const tag = (text) => el('span', { class: 'tag quoted', dir: 'auto' }, text);
    return el(
      'li',
      {},
      el('a', { href: linkOf(battle), 'data-row': battle.row }, ...words),
      el('small', {}, ...order),
      el(
        'span',
        { class: 'tags' },
        ...once.values(),
        battle.source === 1 ? tag('identical lists') : null,
        site.judges.length > 1 ? tag(site.judges[battle.judge]?.name ?? '') : null,
      ),
    );
  }

  async function group({ dataset, query, pairs }, linkOf) {
    const text = arena.begin(arena.queryText(await arena.query(dataset, query)));
    return el(
      'li',
      {},
      el('h2', { class: 'quoted', dir: 'auto' }, text),
      site.datasets.length > 1
        ? el('small', {}, 'on ', arena.quoted(site.datasets[dataset]))
        : null,
      el('ul', {}, ...pairs.map((pair) => line(pair, linkOf))),
    );
  }

  /** Items of a list for these battles; `linkOf` says where a battle's line leads to. */
  arena.entries = (battles, linkOf) =>
    Promise.all(byQuery(pairUp(battles)).map((each) => group(each, linkOf)));
})();
