import { transportSuite } from '../../mesh/transport-suite.ts'
import { pumpedNet } from './pumped-net.ts'

transportSuite('virtual', pumpedNet)
