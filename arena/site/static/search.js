'use strict';
// A search of the log that can be paused, and goes on where it was.
(() => {
  /** Begin a search for what a filter's state asks; nothing is read before `find` is called. */
  arena.search = (filter) => {
    const search = { found: [], read: 0, done: false, stopped: false };
    const battles = arena.battles(filter, (rows) => {
      search.read = rows;
    });

    /** Read on until this many battles are found or somebody stops it; `tell` hears of each file. */
    search.find = async (wanted, tell) => {
      search.stopped = false;
      while (!search.done && !search.stopped && search.found.length < wanted) {
        const { value, done } = await battles.next();
        search.done = done;
        if (value) search.found.push(value);
        else tell(search);
      }
    };
    search.stop = () => {
      search.stopped = true;
    };
    return search;
  };
})();
