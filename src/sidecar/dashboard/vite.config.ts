import { defineConfig } from 'vite'

/** The page is a few files of our own, served by the node: nothing inline, so that its policy can forbid that. */
export default defineConfig({
  root: import.meta.dirname,
  // Relative, so that it also works behind a proxy that puts the node below a path.
  base: './',
  publicDir: false,
  logLevel: 'warn',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
    // The bundle has Preact in it, whose licence goes with it.
    license: { fileName: 'licence.md' },
    emptyOutDir: true
  }
})
