// (interface part; the engine's author completes this file) HybridDisk is a BlockDevice that front ends serve.
#pragma once
#include "runtime/block_device.h"
