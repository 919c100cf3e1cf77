// The promises of every BlobStore, on the real disk and on the simulated one.
#include "blob/disk/rig_test.h"

namespace hansa::blob::disk {
namespace {

using RealStore = StoreRig<sim::RealRig>;
INSTANTIATE_TYPED_TEST_SUITE_P(OnTheRealDisk, BlobStoreContract, RealStore);

// Here any call of the disk on the event loop stops the test.
class SimStore : public StoreRig<SimPorts> {
 public:
  SimStore() { ports().sim_disk.forbid_on_loop(); }
};
INSTANTIATE_TYPED_TEST_SUITE_P(OnTheSimulatedDisk, BlobStoreContract, SimStore);

}  // namespace
}  // namespace hansa::blob::disk
