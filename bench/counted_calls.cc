#include "counted_calls.h"

#include <dlfcn.h>
#include <pthread.h>

#include <cerrno>
#include <cstddef>

// glibc's allocator under its other names; free() stays glibc's. operator new ends in malloc().
extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
}

namespace latte::bench {
namespace {

// Plain thread-local integers: reaching them must not allocate.
thread_local uint64_t allocations = 0;
thread_local uint64_t locks = 0;

using MutexCall = int (*)(pthread_mutex_t*);
using RwlockCall = int (*)(pthread_rwlock_t*);

template <typename Call>
Call real(const char* name) {
  return reinterpret_cast<Call>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

CountedCalls counted_calls() { return {allocations, locks}; }

}  // namespace latte::bench

extern "C" {

void* malloc(size_t bytes) {
  ++latte::bench::allocations;
  return __libc_malloc(bytes);
}

void* calloc(size_t count, size_t bytes) {
  ++latte::bench::allocations;
  return __libc_calloc(count, bytes);
}

void* realloc(void* memory, size_t bytes) {
  ++latte::bench::allocations;
  return __libc_realloc(memory, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  ++latte::bench::allocations;
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  ++latte::bench::allocations;
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static const auto call = latte::bench::real<latte::bench::MutexCall>("pthread_mutex_lock");
  ++latte::bench::locks;
  return call(mutex);
}

int pthread_mutex_trylock(pthread_mutex_t* mutex) {
  static const auto call = latte::bench::real<latte::bench::MutexCall>("pthread_mutex_trylock");
  ++latte::bench::locks;
  return call(mutex);
}

int pthread_rwlock_rdlock(pthread_rwlock_t* lock) {
  static const auto call = latte::bench::real<latte::bench::RwlockCall>("pthread_rwlock_rdlock");
  ++latte::bench::locks;
  return call(lock);
}

int pthread_rwlock_wrlock(pthread_rwlock_t* lock) {
  static const auto call = latte::bench::real<latte::bench::RwlockCall>("pthread_rwlock_wrlock");
  ++latte::bench::locks;
  return call(lock);
}
}
