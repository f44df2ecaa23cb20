/** The whole look of a report; light and dark follow the reader's setting. */
export const STYLE = `
:root{color-scheme:light dark;--paper:#f6f4ee;--card:#fffdf8;--ink:#1d2321;--soft:#626b67;--line:#dfdbd0;--grid:#ece8dd;
--thread:#0f766e;--bad:#b3261e;--badsoft:#fbe9e5;--good:#0f766e;--goodsoft:#dff2ee;
--cut:#c2410c;--link:#b7791f;--node:#9d174d;--disk:#4c5fb0;--time:#6b7280;
--h1:#f7dfae;--h2:#f3c26b;--h3:#ec9a3c;--h4:#dd6b2a;--h5:#c13f26;--h6:#931f2b;--h7:#5d0f2e;
--p0:#0f766e;--p1:#c2410c;--p2:#4c5fb0;--p3:#9d174d;--p4:#8a6d1f}
@media(prefers-color-scheme:dark){:root{--paper:#12161a;--card:#191f24;--ink:#e8e6df;--soft:#97a19d;--line:#2b343a;--grid:#232b30;
--thread:#4fc3b5;--bad:#ff8a7a;--badsoft:#3a2020;--good:#4fc3b5;--goodsoft:#17332f;
--cut:#f0874a;--link:#dcb04e;--node:#ee7fae;--disk:#8fa3f0;--time:#a3adb3;
--h1:#3a2c22;--h2:#5b3a22;--h3:#8a4d22;--h4:#bd6526;--h5:#e58a3a;--h6:#f6b660;--h7:#ffe3a1;
--p0:#4fc3b5;--p1:#f0874a;--p2:#8fa3f0;--p3:#ee7fae;--p4:#dcb04e}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:28px 24px 56px}
h1{font-size:clamp(26px,4.2vw,38px);line-height:1.15;margin:0;letter-spacing:-.02em;overflow-wrap:anywhere}
h2{font-size:19px;margin:0 0 14px;letter-spacing:-.01em}
h3{font-size:13px;font-weight:600;color:var(--soft);margin:22px 0 8px}
p{margin:0}code,pre{font:13px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
header{display:grid;grid-template-columns:1fr auto;gap:18px 28px;align-items:start;margin-bottom:22px}
.eyebrow{font-size:13px;color:var(--soft);margin-bottom:4px}.about{color:var(--soft);margin-top:8px;max-width:62ch}
.verdict{display:inline-flex;align-items:center;gap:9px;padding:8px 16px;border-radius:99px;font-weight:650;font-size:16px;white-space:nowrap}
.verdict::before{content:"";width:11px;height:11px;border-radius:50%;background:currentColor}
.holds{background:var(--goodsoft);color:var(--good)}.broken{background:var(--badsoft);color:var(--bad)}
.replay{grid-column:1/-1;display:flex;gap:10px;align-items:stretch;min-width:0}
.replay code{flex:1;min-width:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:9px 13px;overflow-x:auto;white-space:nowrap}
.replay code::before{content:"$ ";color:var(--soft)}
button{font:inherit;font-size:14px;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:8px;padding:6px 14px;cursor:pointer;min-height:36px}
button:hover{border-color:var(--thread)}button:focus-visible,summary:focus-visible,input:focus-visible{outline:2px solid var(--thread);outline-offset:2px}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(118px,1fr));gap:1px;background:var(--line);border:1px solid var(--line);border-radius:12px;overflow:hidden;margin-bottom:22px}
.figures div{background:var(--card);padding:13px 14px}.figures dt{font-size:12.5px;color:var(--soft)}
.figures dd{margin:1px 0 0;font-size:20px;font-weight:620;font-variant-numeric:tabular-nums;letter-spacing:-.02em;white-space:nowrap}
.figures small{display:block;white-space:normal;font-size:12px;color:var(--soft);font-weight:400;letter-spacing:0}.figures .wrong dd{color:var(--bad)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px 22px;margin-bottom:22px}
.row{display:grid;grid-template-columns:var(--gutter) minmax(0,1fr);gap:12px;align-items:center}
.tracks{--gutter:210px;--x:-1}.track{position:relative;min-width:0}
.lane{height:25px}.lane>span{font-size:13px;color:var(--soft);white-space:nowrap;overflow:hidden;text-overflow:ellipsis}.lane b{color:var(--ink);font-weight:600}
.lane .track{height:25px;border-bottom:1px solid var(--grid)}
.bar{position:absolute;top:6px;height:13px;min-width:3px;border-radius:4px}
.cut{background:var(--cut)}.link{background:var(--link)}.node{background:var(--node)}.disk{background:var(--disk)}.time{background:var(--time)}
.calm{color:var(--soft);font-size:14px}
.names{text-align:right;font-size:12.5px;color:var(--soft);font-variant-numeric:tabular-nums}
.names span{display:block;overflow:hidden;white-space:nowrap;text-overflow:ellipsis}
.heat{--h:22px}.heat.tight{--h:15px}.heat.dense{--h:8px}.heat .names,.heat .track{height:calc(var(--rows)*var(--h))}
.heat .names span{height:var(--h);line-height:var(--h)}.heat.tight .names span{font-size:11px}.heat.dense .names span{font-size:11px;overflow:visible;visibility:hidden}.heat.dense .names span:nth-child(3n+1){visibility:visible}
.heat .track,.curve .track{background:var(--grid);border-radius:4px;overflow:hidden}.heat svg,.curve svg{display:block;height:100%;position:relative}
.curve .track{height:150px}.curve svg{width:100%}.curve .names{display:flex;flex-direction:column;justify-content:space-between;height:150px;line-height:1}
polyline{fill:none;stroke-width:2;vector-effect:non-scaling-stroke;stroke-linejoin:round}
polyline.owed{stroke:var(--soft);stroke-dasharray:4 3}polyline.done{stroke:var(--thread)}.gap{fill:var(--h4);opacity:.34}
.shade{position:absolute;top:0;bottom:0;background:var(--cut);opacity:.09}
${[1, 2, 3, 4, 5, 6, 7].map((n) => `.h${n}{fill:var(--h${n})}.k${n}{background:var(--h${n})}`).join('')}.k0{background:var(--grid)}
.legend{font-size:12.5px;color:var(--soft);margin-top:8px;margin-left:calc(var(--gutter,0px) + 12px)}
.legend i{display:inline-block;width:14px;height:10px;border-radius:2px;margin:0 5px 0 8px}.legend i:first-child{margin-left:0}
.legend .line{height:0;border-top:2px solid var(--soft);vertical-align:middle;border-radius:0}.legend .line.owed{border-top-style:dashed}.legend .line.done{border-color:var(--thread)}.k-gap{background:var(--h4);opacity:.5}
.axis{margin-top:6px}.axis .track{height:20px}.axis .track span{position:absolute;transform:translateX(-50%);font-size:12px;color:var(--soft);white-space:nowrap;font-variant-numeric:tabular-nums}
.axis .track span:first-child{transform:none}.axis .track .edge{transform:translateX(-100%)}
.tracks .track::after{content:"";position:absolute;top:0;bottom:0;left:calc(var(--x)*1%);width:1px;background:var(--ink);opacity:.55;display:none;pointer-events:none}
.tracks.hover .track::after{display:block}.top{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 18px;align-items:baseline}.readout{font-size:13.5px;color:var(--soft);font-variant-numeric:tabular-nums}
.stage{display:grid;grid-template-columns:minmax(0,460px) minmax(0,1fr);gap:28px;align-items:center}.stage svg{width:100%;height:auto;display:block}
.shot{display:none}.shot.on{display:block}g.shot.on{display:inline}
.topology path{fill:none;stroke-width:1.4}.topology text{font-size:13px;fill:var(--ink)}
${[0, 1, 2, 3, 4].map((n) => `path.p${n}{stroke:var(--p${n})}circle.p${n}{fill:var(--p${n})}i.p${n}{background:var(--p${n})}`).join('')}
circle.down{fill:var(--card);stroke:var(--soft);stroke-width:1.5;stroke-dasharray:3 2}i.down{border:1.5px dashed var(--soft)}
.captions{min-height:104px}.captions b{font-size:26px;font-weight:620;letter-spacing:-.015em;font-variant-numeric:tabular-nums;display:block}.captions em{font-style:normal;display:block;overflow-wrap:anywhere}.captions small{color:var(--soft);font-size:13.5px}
.buttons{display:flex;gap:10px;align-items:center;margin:14px 0}.buttons input{flex:1;min-width:0;accent-color:var(--thread)}
.steer .legend{margin-left:0}
.rules{list-style:none;margin:0;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:7px 24px}
.rules li{display:flex;gap:9px;align-items:baseline}.rules li::before{content:"\\2713";color:var(--good);font-weight:700}.rules .no::before{content:"\\2717";color:var(--bad)}.rules .skip{color:var(--soft)}.rules .skip::before{content:"\\2013";color:var(--soft)}
.rules b{color:var(--bad);font-weight:650}
details{border-top:1px solid var(--line);padding:11px 0}.violations details:last-of-type{padding-bottom:0}
summary{cursor:pointer;overflow-wrap:anywhere}summary b{color:var(--bad);font-weight:620}summary span{color:var(--soft)}
pre{margin:10px 0 2px;padding:12px 14px;background:var(--paper);border-radius:8px;overflow-x:auto}pre{color:var(--soft)}pre .own{color:var(--ink)}pre .fault{color:var(--cut)}
h4{font-size:14px;margin:20px 0 4px}h4 small{font-weight:400;color:var(--soft);font-size:13px}
footer{color:var(--soft);font-size:12.5px;overflow-wrap:anywhere}
@media(max-width:720px){main{padding:20px 14px 40px}header{grid-template-columns:1fr}.verdict{justify-self:start}section{padding:16px 14px}
.tracks{--gutter:0px}.row{grid-template-columns:minmax(0,1fr);gap:0}.lane{height:auto;margin-bottom:5px}.lane .track{height:19px}.bar{top:3px}
.heat,.curve{grid-template-columns:46px minmax(0,1fr);gap:6px}.heat .names span{font-size:11px}.curve .names{font-size:11px}.axis{padding-left:52px}.axis>span{display:none}.lanes{padding-left:52px}.lane>span{margin-left:-52px}
.axis .track span:nth-child(even){display:none}.legend{margin-left:0}.stage{grid-template-columns:1fr;gap:12px}.figures{grid-template-columns:repeat(2,1fr)}.replay{flex-wrap:wrap}}
@media print{button,input{display:none}section{break-inside:avoid}}
`
