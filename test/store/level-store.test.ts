import { directoryDisk, memoryDisk } from './store-fixtures.ts'
import { storeSuite } from './store-suite.ts'

storeSuite('store on classic-level', directoryDisk)
storeSuite('store on memory-level', memoryDisk)
