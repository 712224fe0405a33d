"""The style sheet of a report: light and dark, wide and narrow screens, paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1d2430; --paper: #ffffff; --quiet: #5b6472; --line: #d9dee5; --band: #f4f6f8;
  --mark: #b5442a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #dde3ea; --paper: #12161c; --quiet: #98a3b1; --line: #303845; --band: #1b212a;
    --mark: #f08a6c;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif;
  color: var(--ink); background: var(--paper);
  max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 4rem;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .6rem;
     border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p { max-width: 46rem; margin: .5rem 0; }
.note, figcaption { color: var(--quiet); font-size: .88rem; }
.bad { color: var(--mark); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: 1rem 0; font-size: .92rem; }
a { color: inherit; text-underline-offset: .2em; }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .32rem .8rem .32rem 0; border-bottom: 1px solid var(--line);
         text-align: left; white-space: nowrap; vertical-align: top; }
th { font-weight: 600; color: var(--quiet); }
.grid { width: 100%; table-layout: fixed; min-width: calc(var(--columns) * 7.5rem);
        max-width: calc(var(--columns) * 12rem); }
.grid td, .grid th { padding: .15rem .35rem .15rem 0; border: 0; white-space: normal; }
.grid img { display: block; width: 100%; height: auto; border-radius: 3px; }
.grid td { vertical-align: middle; }
.grid.small img { width: 5.5rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .88rem; max-width: none; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
#reconstructions img { image-rendering: pixelated; }
ul { padding-left: 1.2rem; margin: .5rem 0; }
pre { overflow-x: auto; padding: .8rem; background: var(--band); border-radius: 4px;
      font-size: .82rem; line-height: 1.45; }
figure { margin: 1rem 0; }
figure svg { width: 100%; max-width: 56rem; height: auto; display: block; }
.method img { width: 100%; max-width: 60rem; height: auto; display: block; }
@media (max-width: 40rem) {
  body { font-size: 15px; padding: 1rem .8rem 3rem; }
  h1 { font-size: 1.4rem; }
  .grid { min-width: calc(var(--columns) * 6rem); }
  figure, .method { overflow-x: auto; }
  figure svg, .method img { max-width: none; width: 40rem; }
}
@media print {
  :root { --ink: #000; --paper: #fff; --quiet: #444; --line: #bbb; --band: #f4f4f4; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  nav { display: none; }
  .legend i { print-color-adjust: exact; }
  h2, h3 { break-after: avoid; }
  figure, tr, pre { break-inside: avoid; }
  .wide { overflow: visible; break-inside: avoid; }
  table { font-size: 8pt; }
  th, td { white-space: normal; padding-right: .4rem; }
  .grid { min-width: 0; }
  pre { white-space: pre-wrap; }
}
"""
