import { directoryDisk, memoryDisk } from './store-fixtures.ts'
import { storeSuite } from './store-suite.ts'
import { trimSuite } from './trim-suite.ts'

storeSuite('store on classic-level', directoryDisk)
storeSuite('store on memory-level', memoryDisk)

trimSuite('retention on classic-level', directoryDisk)
trimSuite('retention on memory-level', memoryDisk)
