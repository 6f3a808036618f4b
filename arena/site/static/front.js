'use strict';
// Rating against what a model asks for: the models that no other beats in both are the front.
(() => {
  /** Points that no other point beats: none is rated as high for less, or higher for as little. */
  arena.front = (points) => {
    const sorted = [...points].sort((p, q) => p.x - q.x || q.y - p.y);
    let best = -Infinity;
    return sorted.filter((point) => {
      const kept = point.y > best;
      best = Math.max(best, point.y);
      return kept;
    });
  };

  /** Names beside the points of the front, or beside all where they are few, where there is room. */
  const namesOf = (front, labelled, now) => ({
    id: 'names',
    afterDatasetsDraw({ ctx, chartArea, scales }) {
      const at = ({ x, y }) => [scales.x.getPixelForValue(x), scales.y.getPixelForValue(y)];
      // The front is named first. No name may cover another one, or another point of the front.
      const taken = front.map(at).map(([x, y]) => ({ left: x - 5, width: 10, y }));
      const isFree = ({ left, width, y }) =>
        taken.every(
          (box) =>
            Math.abs(box.y - y) > 12 || left > box.left + box.width || box.left > left + width,
        );
      ctx.save();
      ctx.font = `12px ${Chart.defaults.font.family}`;
      ctx.strokeStyle = now.page;
      ctx.lineWidth = 4;
      ctx.lineJoin = 'round';
      for (const point of [...labelled].sort((p, q) => front.includes(q) - front.includes(p))) {
        const name = arena.short(point.name, 24);
        const width = ctx.measureText(name).width;
        const [x, y] = at(point);
        const place = { left: x + 9 + width > chartArea.right ? x - 9 - width : x + 9, width, y };
        if (!isFree(place)) continue;
        taken.push(place);
        ctx.fillStyle = front.includes(point) ? now.ink : now.muted;
        ctx.strokeText(name, place.left, y + 4); // so that no line crosses it
        ctx.fillText(name, place.left, y + 4);
      }
      ctx.restore();
    },
  });

  /** A logarithmic axis with room at its ends, marked at 1, 2 and 5 of each power of ten only. */
  function logarithmic(values) {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const steps = most / least > (innerWidth < 720 ? 20 : 2000) ? [1] : [1, 2, 5];
    return {
      type: 'logarithmic',
      min: least / 1.4,
      max: most * 1.4,
      afterBuildTicks(axis) {
        axis.ticks = axis.ticks.filter(({ value }) =>
          steps.includes(Number((value / 10 ** Math.floor(Math.log10(value) + 1e-9)).toFixed(6))),
        );
      },
    };
  }

  /** An axis that ends a little beyond its values. */
  function room(values) {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const margin = (most - least) / 8;
    return { suggestedMin: least - margin, suggestedMax: most + margin };
  }

  /** Where a linear axis begins: at zero for what is free, for nothing costs less. */
  const floor = (values) => (Math.min(...values) === 0 ? 0 : undefined);

  /** The same in words: who is on the front, and who is left out for want of the figure. */
  function words(points, front, left, { cheaper, unit, lacks, has }) {
    const named = arena.listed(
      front.map(({ name, x, y }) => `${name} (${arena.format.withoutDecimals(y)}, ${unit(x)})`),
    );
    const rest = left.length ? [` Left out, as ${lacks}: `, ...arena.listed(left), '.'] : [];
    // Of a model that is left out nobody knows whether it is the cheapest, or it may be rated best.
    const among = left.length ? [`Of the ${points.length} models ${has}, `] : [];
    if (front.length === 1)
      return [...among, ...named, ` is both the best rated and the ${cheaper.most}.`, ...rest];
    const lead = 'The line joins the models that no other beats in both.';
    const from = among.length ? [` ${among[0]}from`] : [' From'];
    return [lead, ...from, ` the ${cheaper.most} to the best rated: `, ...named, '.', ...rest];
  }

  /** Draw rating against a figure; `kind` says what the figure is called and how it is written. */
  arena.drawFront = (figure, rows, kind) => {
    const rated = rows.filter((row) => row.rating !== null);
    const points = rated
      .filter((row) => row.x !== null)
      .map((row) => ({ name: row.name, x: row.x, y: row.rating }));
    const left = rated.filter((row) => row.x === null).map((row) => row.name);
    const caption = figure.querySelector('figcaption');
    const few = new Set(points.map((point) => point.x)).size < 2; // there is nothing to compare then
    figure.closest('section').hidden = few;
    if (few) return;
    const front = arena.front(points);
    points.sort((p, q) => front.includes(p) - front.includes(q)); // the front is drawn on top
    caption.replaceChildren(...words(points, front, left, kind));
    const values = points.map((point) => point.x);
    const wide = Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 8;
    arena.drawChart(
      figure,
      (now) => ({
        type: 'scatter',
        data: {
          datasets: [
            {
              data: points,
              clip: 8, // a point at the end of an axis is drawn whole
              pointRadius: 5,
              pointHoverRadius: 7,
              pointBackgroundColor: points.map((point) =>
                front.includes(point) ? now.accent : now.loss,
              ),
              pointBorderColor: now.page,
              pointBorderWidth: 1.5,
            },
            {
              data: front,
              type: 'line',
              stepped: true,
              pointRadius: 0,
              pointHitRadius: 0,
              borderColor: now.accent,
              borderWidth: 1.5,
              borderDash: [4, 4],
            },
          ],
        },
        plugins: [namesOf(front, points.length <= 12 ? points : front, now)],
        options: {
          layout: { padding: { top: 12, right: 12 } },
          plugins: {
            legend: { display: false },
            tooltip: {
              displayColors: false,
              callbacks: {
                label: ({ raw }) =>
                  `${raw.name}: ${arena.format.withoutDecimals(raw.y)}, ${kind.unit(raw.x)}`,
              },
            },
          },
          scales: {
            x: arena.axis(now, kind.title, {
              ...(wide ? logarithmic(values) : { type: 'linear', grace: '5%', min: floor(values) }),
              ticks: { maxTicksLimit: 8, maxRotation: 0, callback: kind.tick },
            }),
            y: arena.axis(now, 'rating', {
              ...room(points.map((point) => point.y)),
              ticks: { maxTicksLimit: 7, callback: (value) => arena.format.withoutDecimals(value) },
            }),
          },
        },
      }),
      { height: 340 },
    );
  };
})();
