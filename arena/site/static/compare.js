'use strict';
// Two models side by side; which two is in the address.
(() => {
  const FEW = 3; // files of battles that are read without asking
  const BESIDE =
    'Beside a query: how often A won, B won and neither; and where documents are graded, the nDCG ' +
    'of both lists. Open it to see the lists and what the judge said.';
  const site = arena.get('site');
  const { el, format, byId } = arena;
  const form = byId('pick');
  const byName = new Map(site.models.map((model) => [model.name, model]));
  let search = null; // for the queries of the two models
  let drawing = 0; // the pair asked for last is shown, however late another's figures arrive

  /** A pair's record from the first model's side, or null where the two never met. */
  const pairOf = async (dataset, [a, b]) =>
    (await arena.pairs(dataset)).get(a.name)?.get(b.name) ?? null;

  function sure([a, b], pair) {
    if (!pair) return [arena.quoted(a.name), ' and ', arena.quoted(b.name), ' never met.'];
    const lead = pair.p === null || pair.p >= 0.5 ? [a, b] : [b, a];
    const names = [
      arena.quoted(lead[0].name),
      pair.separated ? ' is better than ' : ' cannot be told apart from ',
      arena.quoted(lead[1].name),
    ];
    if (pair.p === null) return ['How sure it is which of the two is better is not known.'];
    const odds = format.sure(Math.max(pair.p, 1 - pair.p)).replace('>', 'more than ');
    return [
      ...names,
      pair.separated ? `: ${odds} sure.` : `; it is ${odds} sure that `,
      ...(pair.separated ? [] : [arena.quoted(lead[0].name), ' is the better one.']),
    ];
  }

  function headRow(label, pair) {
    if (!pair)
      return el(
        'tr',
        {},
        el('th', { scope: 'row' }, arena.quoted(label)),
        el('td', { colspan: 4 }, 'never met'),
      );
    const n = pair.wins + pair.losses + pair.ties;
    return el(
      'tr',
      {},
      el('th', { scope: 'row' }, arena.quoted(label)),
      ...[pair.wins, pair.losses, pair.ties].map((count) =>
        el('td', { class: 'number' }, format.fixed(count)),
      ),
      el(
        'td',
        { class: 'wlt' },
        `${format.percent(n ? pair.wins / n : null)} won`,
        arena.drawRecord(pair),
      ),
    );
  }

  async function headTable(models, overall) {
    const datasets = site.datasets.length > 1 ? site.datasets : [];
    const rows = await Promise.all(
      datasets.map(async (dataset) => headRow(dataset, await pairOf(dataset, models))),
    );
    const counts = [`${models[0].name} won`, `${models[1].name} won`, 'Ties'];
    const heads = [
      el('th', { scope: 'col' }, 'Data set'),
      ...counts.map((text) => el('th', { scope: 'col', class: 'number' }, arena.quoted(text))),
      el('th', { scope: 'col' }, 'Share'),
    ];
    return el(
      'table',
      { class: 'plain-table' },
      el('caption', { class: 'unseen' }, 'Battles between the two'),
      el('thead', {}, el('tr', {}, ...heads)),
      el('tbody', {}, headRow('All together', overall), ...rows),
    );
  }

  async function searchDuels(models) {
    const mine = arena.search({ a: models[0].name, b: models[1].name, order: 'log' });
    const words = byId('duels-words');
    const total = format.fixed(site.files.battles_total);
    search = mine;
    byId('search').hidden = true;
    byId('stop').hidden = false;
    await mine.find(Infinity, () => {
      if (mine !== search) return;
      const found = format.fixed(mine.found.length);
      words.textContent = `Read ${format.fixed(mine.read)} of ${total} battles: ${found} between the two`;
    });
    const [sections, n] = await arena.duels(mine.found, models);
    if (mine !== search) return;
    byId('stop').hidden = true;
    byId('duels').replaceChildren(...sections);
    const [battles, queries] = [
      format.count(mine.found.length, site.judges.length > 1 ? 'verdict' : 'battle'),
      format.count(n, 'query', 'queries'),
    ];
    const where = mine.done ? '' : ` among the first ${format.fixed(mine.read)}`;
    words.textContent = `${battles} on ${queries}${where}, the clearest first. ${BESIDE}`;
  }

  /** Few files are searched at once; where there are many, the reader says when. */
  function offerSearch(models) {
    byId('duels').replaceChildren();
    byId('duels-words').textContent = '';
    byId('stop').hidden = true;
    const button = byId('search');
    button.hidden = site.files.battles <= FEW;
    if (button.hidden) {
      searchDuels(models);
      return;
    }
    button.textContent = `Search ${format.count(site.files.battles_total, 'battle')}`;
    button.onclick = () => searchDuels(models);
  }

  const PICK =
    'Pick two models to see every figure of both, and the queries on which each beat the other.';

  async function show(names) {
    const mine = ++drawing;
    const models = names.map((name) => byName.get(name));
    const same = names[0] !== '' && names[0] === names[1];
    const ready = models.every(Boolean) && !same;
    search?.stop();
    search = null;
    byId('compared').hidden = !ready;
    byId('finding').textContent = same ? 'Pick two different models.' : PICK;
    if (!ready) return;
    const overall = await pairOf('', models);
    const head = await headTable(models, overall);
    if (mine !== drawing) return;
    byId('finding').replaceChildren(...sure(models, overall));
    document.title = `${names[0]} or ${names[1]}: ${site.title}`;
    byId('head-bar').replaceChildren(...(overall ? [arena.drawRecord(overall)] : []));
    byId('head-table').replaceChildren(head);
    byId('figures').replaceChildren(...arena.figures(site, models));
    offerSearch(models);
  }

  /** What the address asks for; where it names no model, the first two of the leaderboard. */
  function chosen() {
    const state = arena.readState();
    const [a, b] = site.overall.map((row) => row.model);
    return 'a' in state || 'b' in state || b === undefined ? state : { a, b };
  }

  function apply() {
    arena.fillForm(form, chosen());
    show([form.elements.a.value, form.elements.b.value]);
  }

  form.addEventListener('change', () => {
    arena.writeState(arena.readForm(form));
    apply();
  });
  form.addEventListener('submit', (event) => event.preventDefault());
  byId('swap').addEventListener('click', () => {
    const { a, b } = arena.readForm(form);
    arena.writeState({ a: b, b: a });
    apply();
  });
  byId('stop').addEventListener('click', () => search?.stop());
  addEventListener('hashchange', apply);
  apply();
})();
