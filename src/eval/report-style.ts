/**
 * The looks of the report, inline so that the file needs no network: light and dark, phone, print.
 * The heat map runs from orange (worse) over neutral to blue (better), a pair that is told apart with every kind
 * of colour blindness; each step has its own text colour with a contrast of at least 4.5.
 */

/** Steps of the heat map as [background, text]: index 0 is the worst, 4 neutral, 8 the best. */
export const heat = {
  light: [
    ["#a63603", "#ffffff"],
    ["#ee7722", "#111111"],
    ["#fdae6b", "#111111"],
    ["#fee3c8", "#111111"],
    ["#f3f3f1", "#111111"],
    ["#d5e5f3", "#111111"],
    ["#9ac4e2", "#111111"],
    ["#529bd0", "#111111"],
    ["#08519c", "#ffffff"],
  ],
  dark: [
    ["#f5a04b", "#111111"],
    ["#a9560c", "#ffffff"],
    ["#6e3c10", "#ffffff"],
    ["#432a14", "#ffffff"],
    ["#2a2d31", "#ffffff"],
    ["#1b3349", "#ffffff"],
    ["#1f5079", "#ffffff"],
    ["#2a70a8", "#ffffff"],
    ["#7cbcf0", "#111111"],
  ],
} as const;

/** Colours of lines (after Okabe and Ito, lightened for dark pages). */
export const lines = {
  light: ["#0072b2", "#c14d00", "#00795a", "#b0508a", "#8a6d00", "#3b3b8f", "#555555"],
  dark: ["#5fb4ea", "#f28e45", "#33c79c", "#e79bc6", "#e6c229", "#a9a9f5", "#bbbbbb"],
} as const;

const variables = (mode: "light" | "dark"): string =>
  [
    ...heat[mode].map(([background, text], i) => `--h${i}:${background};--t${i}:${text};`),
    ...lines[mode].map((colour, i) => `--l${i}:${colour};`),
  ].join("");

const light = `--page:#ffffff;--text:#1a1c1e;--soft:#5b6167;--line:#d5d9dd;--panel:#f7f8f9;${variables("light")}`;
const dark = `--page:#15181c;--text:#e8eaec;--soft:#a4abb2;--line:#3a4048;--panel:#1c2026;${variables("dark")}`;

const steps = heat.light.map((_, i) => `.h${i}{background:var(--h${i});color:var(--t${i})}`).join("");

export const style = `
:root{color-scheme:light dark;${light}}
@media (prefers-color-scheme:dark){:root{${dark}}}
@media print{:root{color-scheme:light;${light}}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:64rem;background:var(--page);color:var(--text);
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.5rem 0 .5rem}
p{margin:.5rem 0;max-width:46rem}
.soft,figcaption,caption,small,.formula{color:var(--soft)}
.formula{display:block;font:12px/1.4 ui-monospace,Menlo,Consolas,monospace;font-weight:400}
figure{margin:1rem 0;break-inside:avoid}
figcaption{font-size:.875rem;margin-top:.5rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9375rem}
caption span{position:sticky;left:0;display:inline-block;max-width:min(62rem,calc(100vw - 1.5rem))}
caption{caption-side:top;text-align:left;font-weight:600;color:var(--text);padding:.25rem 0}
th,td{padding:.35rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:600}
.numbers td,.numbers thead th:not(:first-child){text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.numbers thead th{vertical-align:bottom}
.numbers thead th:not(:first-child){white-space:normal;overflow-wrap:normal;max-width:8.5rem}
.numbers td small{display:block;font-size:.75rem;font-weight:400;line-height:1.1}
.numbers tbody th,.numbers thead th:first-child{min-width:7rem;position:sticky;left:0;background:var(--page)}
h2.first{border:0;padding:0;margin-top:1.5rem}
.numbers{margin:.75rem 0}
a{color:var(--l0)}
ul.formulas{list-style:none;margin:.75rem 0;padding:0}
ul.formulas li{margin:.2rem 0;padding-left:1.5em;text-indent:-1.5em}
.downloads{font-size:.875rem}
.best{font-weight:700}
.best::before{content:"★ ";font-size:.75em;vertical-align:.15em}
.heat{border-collapse:separate;border-spacing:3px}
.heat th,.heat td{border:0;padding:.4rem .5rem}
.heat thead th{text-align:center;vertical-align:bottom;max-width:9rem;font-size:.875rem}
.heat tbody th{font-weight:400;font-size:.875rem;vertical-align:middle;max-width:11rem;
 position:sticky;left:0;background:var(--page)}
.heat td{text-align:center;vertical-align:middle;border-radius:4px;min-width:4.2rem;white-space:nowrap;font-variant-numeric:tabular-nums}
.heat td small{display:block;color:inherit;font-size:.75rem;font-weight:400}
.heat td.learned{outline:2px solid var(--text);outline-offset:-1px;font-weight:700}
.heat td,.legend span,svg .band{print-color-adjust:exact;-webkit-print-color-adjust:exact}
${steps}
.legend{display:flex;flex-wrap:wrap;align-items:center;gap:.1rem .6rem;font-size:.8125rem;color:var(--soft);margin:.25rem 3px}
.legend i{font-style:normal}
.legend b{display:flex;gap:2px}
.legend span{width:1.3rem;height:.9rem;border-radius:2px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 1.5rem}
.charts svg{display:block;width:100%;height:auto;max-width:34rem}
svg text{font:11.5px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--text)}
svg .tick{fill:var(--soft)}
svg .grid{stroke:var(--line);stroke-width:1}
svg .band{fill:var(--panel)}
svg .front{fill:none;stroke:var(--soft);stroke-width:1.5;stroke-dasharray:5 3}
svg .name{paint-order:stroke;stroke:var(--page);stroke-width:3px;stroke-linejoin:round}
svg .leading{font-weight:700}
ul.keys{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.25rem 0;padding:0;font-size:.875rem}
ul.keys svg{display:inline-block;width:26px;height:12px;vertical-align:-1px;margin-right:.3rem}
.setup{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:1rem 2rem;align-items:start}
.tables{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:0 1.5rem;align-items:start}
.tables .numbers th,.tables .numbers td{padding-left:.3rem;padding-right:.3rem}
.tables .numbers tbody th,.tables .numbers thead th:first-child{min-width:5.8rem}
.pairs{width:100%;font-size:.875rem}
.pairs th{font-weight:400;color:var(--soft);width:40%}
.pairs td{white-space:pre-wrap}
pre{white-space:pre-wrap;font:12px/1.45 ui-monospace,Menlo,Consolas,monospace;background:var(--panel);
 padding:.75rem;border-radius:4px}
summary{cursor:pointer}
@media (max-width:30rem){
 body{padding:1rem .75rem 2rem;font-size:15px}
 .numbers tbody th,.numbers thead th:first-child{min-width:5.8rem}
 .heat{border-spacing:2px}
 .heat th,.heat td{padding:.3rem .1rem}
 .heat td{min-width:3.2rem;font-size:.875rem}
 .heat td small{font-size:.6875rem}
 .heat thead th{font-size:.6875rem;font-weight:400;padding:.3rem 0}
 .heat tbody th{font-size:.75rem;min-width:3.6rem;max-width:5rem}
 th,td{padding:.3rem .35rem}
 svg text{font-size:14px}
}
@media print{
 body{max-width:none;padding:0;font-size:10.5pt}
 .scroll{overflow:visible}
 .charts{grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr))}
 .numbers{font-size:8pt}
 .numbers th,.numbers td{padding:.2rem .25rem}
 .numbers td small{font-size:6.5pt}
 .numbers thead th:not(:first-child){white-space:normal}
 .numbers tbody th,.numbers thead th:first-child{position:static;min-width:4.5rem}
 .heat tbody th{position:static}
 .downloads,nav{display:none}
 details{display:none}
 h2,h3{break-after:avoid}
}
`.trim();
