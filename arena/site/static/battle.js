'use strict';
// One battle: the query, both lists, the verdict and why, the other order, and what it took.
(() => {
  const site = arena.get('site');
  const { el, format } = arena;

  /** What the other order's verdict makes of this one. */
  function inTheOtherOrder(battle, other) {
    if (battle.flipped === 1) return 'With the lists the other way round, the other model won: ';
    if (battle.winner === 0 && other.winner === 0)
      return 'The other way round it was a tie as well: ';
    if (battle.winner === 0 || other.winner === 0)
      return 'The other way round only one of the two verdicts has a winner: ';
    return 'The other way round, the same model won: ';
  }

  function otherOrder(battle, other) {
    if (!other) return [el('p', { class: 'explain' }, 'The other order was not judged.')];
    const link = el('a', { href: `#row=${other.row}` }, `battle ${format.fixed(other.row)}`);
    return [el('p', {}, inTheOtherOrder(battle, other), link, '.')];
  }

  function facts(battle, reply) {
    const judge = site.judges[battle.judge];
    const tokens = battle.input_tokens || battle.output_tokens;
    const pairs = [
      [
        'Judge',
        judge
          ? `${judge.name || 'not named in the log'}${judge.is_llm === false ? ' (not an LLM)' : ''}`
          : format.ABSENT,
      ],
      [
        'Decided by',
        ['asking the judge', 'identical lists', 'an earlier verdict on the same request'][
          battle.source
        ] ?? format.ABSENT,
      ],
      [
        'Tokens',
        tokens
          ? `${format.fixed(battle.input_tokens)} read, ${format.fixed(battle.output_tokens)} written`
          : format.ABSENT,
      ],
      ['Cost', battle.cost_usd ? format.price(battle.cost_usd) : format.ABSENT],
      ['Time', battle.latency_ms ? format.milliseconds(battle.latency_ms) : format.ABSENT],
      ['At', reply?.at ? `${reply.at.slice(0, 19).replace('T', ' at ')} UTC` : format.ABSENT],
      ['Prompt', reply?.prompt || format.ABSENT],
    ];
    const known = pairs.filter(([, text]) => text !== format.ABSENT);
    return el(
      'dl',
      { class: 'facts' },
      ...known.map(([name, text]) =>
        el('div', {}, el('dt', {}, name), el('dd', {}, arena.quoted(text))),
      ),
    );
  }

  /** What puts a battle's verdict in doubt, as tags. */
  arena.flagsOf = (battle) => {
    const tags = [];
    if (battle.flipped === 1)
      tags.push(el('span', { class: 'tag warn' }, 'verdict flips when swapped'));
    if (battle.qrels === 1)
      tags.push(el('span', { class: 'tag warn' }, 'disagrees with the grades'));
    return tags;
  };

  const section = (title, content) => el('section', {}, el('h2', {}, title), content);

  const NOTHING_WRITTEN =
    'The judge wrote nothing: it compares relevance grades, or its words were not kept.';

  /** Everything about a battle, from the way back to what it took. */
  arena.battleParts = async (battle, back) => {
    const [showing, reply, other] = await Promise.all([
      arena.showing(battle.dataset, battle.query),
      arena.replyOf(battle),
      arena.battle(battle.other),
    ]);
    const otherReply = other && arena.replyBlock(await arena.replyOf(other));
    const { first, second } = arena.sidesOf(battle);
    const sides = [
      { label: 'Shown first', model: first },
      { label: 'Shown second', model: second },
    ];
    const dataset = arena.quoted(site.datasets[battle.dataset]);
    const query = arena.quoted(arena.queryText(showing.query));
    const written = arena.replyBlock(reply) ?? el('p', { class: 'explain' }, NOTHING_WRITTEN);
    const pair = { a: first.name, b: second.name };
    const same = { dataset: site.datasets[battle.dataset], query: showing.query.id, ...pair };
    return [
      el('p', { class: 'crumb' }, back),
      el('p', { class: 'explain' }, `Battle ${format.fixed(battle.row)} on `, dataset),
      el('h1', { class: 'query', id: 'battle-title', tabindex: '-1' }, query),
      el('p', { class: 'verdict' }, ...arena.verdictOf(battle)),
      el('div', { class: 'tags' }, ...arena.flagsOf(battle)),
      ...otherOrder(battle, other),
      arena.twoLists(sides, showing),
      section('What the judge said', written),
      otherReply && section('What it said in the other order', otherReply),
      section('What it took', facts(battle, reply)),
      el(
        'p',
        {},
        el('a', { href: arena.linkTo('compare.html', pair) }, 'Compare these two models'),
        battle.query === null ? null : ' · ',
        battle.query === null
          ? null
          : el(
              'a',
              { href: arena.linkTo('battles.html', same) },
              'All their battles on this query',
            ),
      ),
    ].filter(Boolean);
  };
})();
