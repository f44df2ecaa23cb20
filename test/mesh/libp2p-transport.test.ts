import { libp2pNet } from './harness.ts'
import { transportSuite } from './transport-suite.ts'

transportSuite('libp2p', libp2pNet)
