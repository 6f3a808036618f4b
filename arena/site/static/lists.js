'use strict';
// Two lists side by side, as the judge saw them: text, grade where known, and what they share.
(() => {
  const site = arena.get('site');
  const LONG = 420; // characters of a document beyond which it is folded

  function tagsOf(id, { relevant, shared, documents }) {
    const tags =
      arena.own(documents, id)?.title === id
        ? []
        : [arena.el('span', { class: 'tag quoted', dir: 'auto' }, id)];
    const grade = arena.own(relevant, id);
    if (grade > 0)
      tags.push(
        arena.el(
          'span',
          { class: 'tag relevant' },
          grade === 1 ? 'relevant' : `relevant, grade ${grade}`,
        ),
      );
    else if (grade !== undefined)
      tags.push(arena.el('span', { class: 'tag' }, 'graded not relevant'));
    if (shared.has(id))
      tags.push(
        arena.el('span', { class: 'tag' }, `also in the other list, place ${shared.get(id)}`),
      );
    return arena.el('div', { class: 'tags' }, ...tags);
  }

  function unfold(text) {
    text.classList.add('long');
    const button = arena.el(
      'button',
      { type: 'button', class: 'more', 'aria-expanded': 'false' },
      'Show all of it',
    );
    button.addEventListener('click', () => {
      const folded = text.classList.toggle('long');
      button.textContent = folded ? 'Show all of it' : 'Show less';
      button.setAttribute('aria-expanded', String(!folded));
    });
    return button;
  }

  function documentItem(id, place, given) {
    const body = arena.el('div', { class: 'body' });
    const document = arena.own(given.documents, id);
    if (document?.title)
      body.append(arena.el('div', { class: 'title quoted', dir: 'auto' }, document.title));
    if (document) {
      const text = arena.el('p', { class: 'text quoted', dir: 'auto' }, document.text);
      body.append(text);
      if (document.text.length > LONG) body.append(unfold(text));
    }
    body.append(tagsOf(id, given));
    return arena.el('li', {}, arena.el('span', { class: 'place' }, String(place)), body);
  }

  function list(heading, ids, given) {
    const items = ids.map((id, at) => documentItem(id, at + 1, given));
    return arena.el(
      'div',
      {},
      heading,
      items.length
        ? arena.el('ol', { class: 'list' }, ...items)
        : arena.el('p', { class: 'explain' }, 'The documents of this list were not kept.'),
    );
  }

  const places = (ids) => new Map(ids.map((id, at) => [id, at + 1]));

  /**
   * Both lists, each under a heading of this level; `sides` are two of { label, model }, `showing`
   * what arena.showing gives.
   */
  arena.twoLists = (sides, showing, level = 'h2') => {
    const [first, second] = sides.map(({ model }) =>
      (arena.own(showing.lists, model.name) ?? []).slice(0, site.top_k),
    );
    const {
      documents,
      query: { relevant },
    } = showing;
    const heading = ({ label, model }) =>
      arena.el(level, {}, arena.el('small', {}, label), arena.modelLink(model));
    return arena.el(
      'div',
      { class: 'versus' },
      list(heading(sides[0]), first, { documents, relevant, shared: places(second) }),
      list(heading(sides[1]), second, { documents, relevant, shared: places(first) }),
    );
  };

  /** The query as its heading, or its id where its text was not kept. */
  arena.queryText = (query) => query.text ?? query.id;
})();
