// One program, one test after the other: some change what others measure.
import './rows.ts'
import './sharing.ts'
import './sizes.ts'
import './gpu-blobs.ts'
import './gpu-heap.ts'
import './gpu-sizes.ts'
import './frames.ts'
import './endurance.ts'
