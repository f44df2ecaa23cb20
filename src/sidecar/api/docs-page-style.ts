/** Of the page that describes the interface. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --link: light-dark(#0b5cad, #7db8f5) }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; display: grid; grid-template-columns: 13rem minmax(0, 60rem); gap: 0 2rem }
header { grid-column: 1 / -1; padding: 1rem 2rem 0 }
nav { position: sticky; top: 0; align-self: start; display: grid; gap: .3rem; padding: 1rem 0 1rem 2rem }
main { padding: 0 2rem 4rem 0 }
a { color: var(--link); text-decoration: none }
a:hover { text-decoration: underline }
h1 { font-size: 1.4rem; margin: 0 }
h2 { margin: 2rem 0 0; border-bottom: 2px solid var(--line) }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .25rem }
h3 a { color: inherit }
h4 { font-size: .85rem; margin: .75rem 0 .25rem; opacity: .7 }
p { margin: .25rem 0 }
code { font: .9em ui-monospace, monospace }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid var(--line); padding: .25rem .75rem .25rem 0; vertical-align: top; overflow-wrap: anywhere }
td td { border: 0; padding-top: 0 }
td:first-child:not(:last-child) { min-width: 3rem }
tr > td:nth-child(1):nth-last-child(3) { width: 10rem }
tr > td:nth-child(2):nth-last-child(2) { width: 10rem }
small { opacity: .65 }
@media (max-width: 50rem) { body { display: block } nav { position: static; padding: 1rem 2rem 0 } main { padding: 0 2rem 4rem } }
`
