/* SPDX-License-Identifier: GPL-2.0-only */
/* For kernels before 6.2, none of which we test with KUnit. */
#ifndef MDEV_COMPAT_KUNIT_VISIBILITY_H
#define MDEV_COMPAT_KUNIT_VISIBILITY_H

#define VISIBLE_IF_KUNIT static
#define EXPORT_SYMBOL_IF_KUNIT(symbol)

#endif /* MDEV_COMPAT_KUNIT_VISIBILITY_H */
