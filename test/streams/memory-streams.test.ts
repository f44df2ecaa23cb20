import { memoryNet } from '../mesh/harness.ts'
import { streamsSuite } from './streams-suite.ts'

streamsSuite('in memory', memoryNet)
