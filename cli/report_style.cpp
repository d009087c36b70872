// The style sheet of a report's page: on a screen, dark or light, and on A4.
#include "cli/report_parts.hpp"

namespace passnorm::cli {

const std::string_view kPageStyle = R"(
* { box-sizing:border-box; }
body { margin:0 auto; padding:2.2rem 1.4rem 4rem; max-width:68rem; color:var(--ink); background:var(--page);
  font:15px/1.5 Charter, "Bitstream Charter", "Source Serif 4", Cambria, Georgia, serif; }
h1 { font-size:1.75rem; line-height:1.2; margin:0 0 .3rem; font-weight:600; }
h2 { font-size:1.25rem; margin:2.6rem 0 .6rem; font-weight:600; border-bottom:1px solid var(--grid); padding-bottom:.2rem; }
h3 { font-size:1.04rem; margin:1.9rem 0 .3rem; font-weight:600; }
p, ul { margin:.45rem 0; max-width:46rem; } li { margin:.25rem 0; } code { font:.86em ui-monospace, monospace; }
.sub { color:var(--soft); margin:0 0 1.4rem; }
figure { margin:1.1rem 0; display:grid; grid-template-columns:1fr 1fr; gap:1.1rem 1.4rem; }
figcaption { grid-column:1 / -1; font-size:.86rem; color:var(--soft); max-width:46rem; }
figure.odd figcaption { grid-column:auto; align-self:center; }
figcaption b, caption b { color:var(--ink); font-weight:600; }
.legend { display:flex; flex-wrap:wrap; gap:.2rem 1.1rem; margin:.4rem 0 0; }
svg.swatch { display:inline-block; width:30px; height:10px; vertical-align:middle; }
.table { overflow-x:auto; margin:1.1rem 0; }
table { border-collapse:collapse; font:12.5px/1.35 ui-sans-serif, system-ui, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric:tabular-nums; border-bottom:1.4px solid var(--ink); }
caption { text-align:left; font:.86rem/1.4 Charter, "Bitstream Charter", "Source Serif 4", Cambria, Georgia, serif;
  color:var(--soft); padding-bottom:.45rem; max-width:56rem; }
thead th { border-top:1.4px solid var(--ink); border-bottom:.7px solid var(--ink); font-weight:600; text-align:right;
  vertical-align:bottom; }
th, td { padding:.16rem .75rem .16rem 0; text-align:right; } th:last-child, td:last-child { padding-right:0; }
tbody th { font-weight:400; text-align:left; } .left { text-align:left; }
.tables { display:flex; flex-wrap:wrap; gap:0 2.4rem; } .tables table { min-width:22rem; }
tbody th, td { white-space:nowrap; } table.wide tbody th { white-space:normal; }
table.long td { white-space:normal; max-width:30rem; overflow-wrap:break-word; vertical-align:top; }
table.hash td { overflow-wrap:anywhere; } table.long th { vertical-align:top; }
table.long tbody th { white-space:normal; min-width:8.5rem; }
footer { margin-top:3rem; color:var(--soft); font-size:.82rem; }
@media (max-width:44rem) { figure { grid-template-columns:1fr; } }
@page { size:A4; margin:15mm 14mm 16mm; }
@media print {
  body { max-width:none; padding:0; font-size:9.6pt; }
  h1 { font-size:17pt; } h2 { font-size:12.5pt; } h3 { font-size:10.5pt; }
  h2, h3, h3 + p, caption { break-after:avoid; }
  figure, svg, tr, .table { break-inside:avoid; }
  thead { display:table-header-group; }
  .table { overflow:visible; } table { font-size:7.2pt; max-width:100%; } th, td { padding-right:.45rem; }
  table.wide { font-size:6.4pt; } .tables table { min-width:0; }
  table:not(.short) td:not(.left) { white-space:normal; } figcaption, caption { font-size:8.2pt; }
  p, figcaption, caption { max-width:none; }
  svg .t { font-size:11px; } svg .head { font-size:12px; }
}
)";

}  // namespace passnorm::cli
