import { repairStore } from '../store/directory.ts'
import type { StoreRepair } from '../store/directory.ts'

/**
 * Puts together what is readable of the damaged store of a stopped node. Rejects with ERR_DATA_DIR_LOCKED while it
 * runs, ERR_DATA_DIR where there is no store, ERR_STORE_CORRUPT where nothing is readable.
 */
export function repairDataDirectory(dataDir: string): Promise<StoreRepair> {
  return repairStore(dataDir)
}
