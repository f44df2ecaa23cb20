import { memoryNet } from './harness.ts'
import { transportSuite } from './transport-suite.ts'

transportSuite('in memory', memoryNet)
