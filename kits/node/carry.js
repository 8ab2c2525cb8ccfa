// Before `npm pack`: takes along a binary that is there already, $LEVERET_BINARY or the release binary.
import {copyFileSync, mkdirSync} from 'node:fs'

const release = new URL(`${process.env.CARGO_TARGET_DIR ?? '../../target'}/release/leveret`, import.meta.url)
mkdirSync(new URL('bin', import.meta.url), {recursive: true})
copyFileSync(process.env.LEVERET_BINARY ?? release, new URL('bin/leveret', import.meta.url))
