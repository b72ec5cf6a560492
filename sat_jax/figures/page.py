"""The report page as HTML, with places for what `report` fills in."""

from sat_jax.figures.style import COLOURS

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --soft: #5b5b60; --ground: #fdfdfc; --line:
  #dcdcd8;
  --link: #005a96; --card: #f3f3f0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --soft: #a9a9ad; --ground: #17181a;
  --line: #3a3b3e; --link: #7fbdf0; --card: #222427; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; color: var(--ink); background:
  var(--ground);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
a { color: var(--link); } nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
p, figcaption { max-width: 46rem; }
pre, .wide { overflow-x: auto; } pre { background: var(--card); padding: .7rem; border-radius:
  .4rem;
  font-size: .85rem; }
figure { margin: 1.5rem 0; }
figure img[hidden] { display: none; }
figure img:not([hidden]) { display: block; width: 100%; height: auto; background: #fff;
  border-radius: .4rem; }
figcaption { color: var(--soft); font-size: .9rem; }
.switch { font: inherit; font-size: .85rem; margin: .3rem 0; color: inherit; background:
  var(--card); border: 1px solid var(--line); border-radius: .3rem; cursor: pointer; }
.switch[aria-pressed=true] { outline: 2px solid var(--link); }
summary { cursor: pointer; color: var(--link); } summary:focus-visible, a:focus-visible,
.switch:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
header ul { padding-left: 1.2rem; max-width: 52rem; } header li { margin: .25rem 0; }
.open { font-weight: 600; }
.clip { display: flex; flex-wrap: wrap; gap: .7rem; align-items: center; } audio { max-width: 100%;
  }
.links a { margin-right: 1rem; }
.wide { border: 1px solid var(--line); border-radius: .4rem; max-height: 80vh; overflow-y: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; width:
  100%; }
th { position: sticky; top: 0; background: var(--card); text-align: left; vertical-align: bottom;
  padding: 0; }
th button { all: unset; cursor: pointer; padding: .4rem .6rem; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--link); outline-offset: -2px; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td { padding: .25rem .6rem; border-top: 1px solid var(--line); white-space: nowrap; }
td small { display: block; color: var(--soft); font-size: .72rem; }
td span[class]::before { content: ""; display: inline-block; width: .7em; height: .7em;
  margin-right: .4em; border-radius: 2px; background: var(--kind); outline: 1px solid var(--line); }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) minmax(0, 1fr); gap: .2rem
  1rem;
  margin: 0; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; } code { overflow-wrap: anywhere; }
@media (max-width: 30rem) { body { padding: .7rem; } dl { grid-template-columns: 1fr; } }
""" + "\n".join(f".{name} {{ --kind: {colour}; }}" for name, colour in COLOURS.items())

_SCRIPT = """
const show = (image) => {
  const pixels = document.getElementById(image.dataset.png);
  if (!image.src) image.src = "data:image/png;base64," + pixels.textContent;
};
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) show(entry.target);
}, { rootMargin: "1200px" });
const images = document.querySelectorAll("img[data-png]");
for (const image of images) near.observe(image);
addEventListener("beforeprint", () => images.forEach(show));
for (const button of document.querySelectorAll(".switch")) button.addEventListener("click", () => {
  for (const image of button.parentElement.querySelectorAll("img")) {
    image.hidden = !image.hidden;
    show(image);
  }
  const pressed = button.getAttribute("aria-pressed") === "true";
  button.setAttribute("aria-pressed", String(!pressed));
});
for (const table of document.querySelectorAll(".sortable"))
table.tHead.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (!head) return;
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = (row) => row.cells[head.cellIndex].dataset.value;
  const order = (a, b) => isNaN(value(a)) ? value(a).localeCompare(value(b)) : value(a) - value(b);
  const rows = [...table.tBodies[0].rows].sort((a, b) => up ? order(a, b) : order(b, a));
  table.tBodies[0].append(...rows);
});
"""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{{{{title}}}}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{{{{title}}}}</h1>
{{{{findings}}}}
<details><summary>Contents</summary><nav aria-label="Contents">
{{{{contents}}}}
</nav></details></header>
<main>
{{{{body}}}}
<section id="run"><h2>How it was made</h2>
{{{{manifest}}}}
</section>
</main>
<noscript><p>Figures need the page's script; they lie in figures/ beside it.</p></noscript>
{{{{pixels}}}}
<script>{_SCRIPT}</script>
</body>
</html>
"""
