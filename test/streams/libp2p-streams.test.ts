import { libp2pNet } from '../mesh/harness.ts'
import { streamsSuite } from './streams-suite.ts'

streamsSuite('libp2p', libp2pNet)
