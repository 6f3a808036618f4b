'use strict';
// Charts that follow the theme, and are drawn in light colours on paper.
(() => {
  const makers = new Map(); // canvas → function from colours to a configuration of Chart.js
  const NAMES = ['ink', 'muted', 'line', 'edge', 'accent', 'tie', 'loss', 'page'];

  /** The colours of the stylesheet, resolved for the theme of the moment. */
  function colours() {
    const probe = arena.el('span', { class: 'probe' });
    document.body.append(probe);
    const found = {};
    for (const name of NAMES) {
      probe.style.color = `var(--${name})`;
      found[name] = getComputedStyle(probe).color;
    }
    probe.remove();
    return found;
  }

  function draw(canvas, now) {
    Chart.getChart(canvas)?.destroy();
    const config = makers.get(canvas)(now);
    config.options = {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      ...config.options,
    };
    new Chart(canvas, config);
  }

  function drawAll() {
    const now = colours();
    for (const canvas of makers.keys()) if (canvas.isConnected) draw(canvas, now);
  }

  /** Draw a chart in a figure's canvas now, and again whenever the theme changes. */
  arena.drawChart = (figure, make, { height = null } = {}) => {
    const canvas = figure.querySelector('canvas');
    if (!canvas.parentElement.classList.contains('frame')) {
      const frame = arena.el('div', { class: 'frame' });
      canvas.replaceWith(frame);
      frame.append(canvas);
    }
    if (height) canvas.parentElement.style.height = `${height}px`;
    makers.set(canvas, make);
    draw(canvas, colours());
  };

  /** Give every chart the size of its place now, and not a frame later. */
  arena.fitCharts = () => {
    for (const canvas of makers.keys()) Chart.getChart(canvas)?.resize();
  };

  /** An axis with the site's look. */
  arena.axis = (now, title, more = {}) => ({
    title: { display: Boolean(title), text: title, color: now.muted },
    border: { color: now.edge },
    ...more,
    grid: { color: now.line, drawTicks: false, ...more.grid },
    ticks: { color: now.muted, padding: 6, ...more.ticks },
  });

  /** A name that fits beside a chart. */
  arena.short = (name, most = innerWidth < 720 ? 18 : 34) =>
    name.length > most ? `${name.slice(0, most / 2 - 1)}…${name.slice(-most / 2)}` : name;

  /** A thin dark bar with a square in each row: the rating that people's labels correct. */
  function byPeople(rows, now) {
    if (!rows.some((row) => (row.corrected ?? null) !== null)) return [];
    return [
      {
        type: 'line',
        data: rows.map((row) => row.corrected ?? null),
        showLine: false,
        pointStyle: 'rect',
        pointRadius: 4,
        pointHoverRadius: 4,
        pointBackgroundColor: now.ink,
        pointBorderColor: now.page,
      },
      {
        data: rows.map((row) =>
          (row.corrected ?? null) === null ? null : [row.corrected_lower, row.corrected_upper],
        ),
        backgroundColor: now.ink,
        barThickness: 2,
        grouped: false,
      },
    ];
  }

  /** Ratings and intervals, one line per row: name, rating, lower, upper; corrected if known. */
  arena.drawIntervals = (figure, rows, words) => {
    const known = rows.filter((row) => row.rating !== null);
    figure.closest('section').hidden = known.length === 0;
    if (!known.length) return;
    figure.querySelector('figcaption').replaceChildren(...words);
    arena.drawChart(
      figure,
      (now) => ({
        type: 'bar',
        data: {
          labels: known.map((row) => arena.short(row.name)),
          datasets: [
            {
              type: 'line',
              data: known.map((row) => row.rating),
              showLine: false,
              pointRadius: 4.5,
              pointHoverRadius: 5,
              pointBackgroundColor: now.accent,
              pointBorderColor: now.page,
              pointBorderWidth: 1.5,
            },
            {
              data: known.map((row) => [row.lower ?? row.rating, row.upper ?? row.rating]),
              backgroundColor: now.accent.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.42)'),
              borderRadius: 4,
              borderSkipped: false,
              barThickness: 8,
              grouped: false,
            },
            ...byPeople(known, now),
          ],
        },
        options: {
          indexAxis: 'y',
          plugins: {
            legend: { display: false },
            tooltip: {
              displayColors: false,
              filter: (item) => item.datasetIndex === 0,
              callbacks: {
                title: ([item]) => known[item.dataIndex].name,
                label: (item) => arena.format.rating(known[item.dataIndex]),
              },
            },
          },
          interaction: { mode: 'index', axis: 'y', intersect: false },
          scales: {
            x: arena.axis(now, 'rating', {
              type: 'linear',
              beginAtZero: false,
              grace: '4%',
              ticks: { callback: (value) => arena.format.withoutDecimals(value) },
            }),
            y: arena.axis(now, '', {
              grid: { display: false },
              ticks: { color: now.ink, autoSkip: false },
            }),
          },
        },
      }),
      { height: 56 + 26 * Math.max(known.length, 2) },
    );
  };

  let theme;
  addEventListener('beforeprint', () => {
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = 'light';
    drawAll();
  });
  addEventListener('afterprint', () => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    drawAll();
  });
  document.addEventListener('arena-theme', drawAll);
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 12.5;
})();
