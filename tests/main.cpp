#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "tests/test_device.h"

int main(int count, char** arguments) {
  const headshare::DefaultDevice device(headshare::test::test_device());
  return doctest::Context(count, arguments).run();
}
