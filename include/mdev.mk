# SPDX-License-Identifier: GPL-2.0-only
#
# For the Kbuild of a vendor's driver that is built outside a kernel tree:
#
#   include /usr/share/mdev/include/mdev.mk
#
# or with the path to which the package or "make install" has installed this file, or
# that of the source of mdev, after it was built. A driver that was written for Linux
# 4.10 to 5.12 sets this before the include:
#
#   MDEV_API := classic
#
# and one for 5.13 to 5.15
#
#   MDEV_API := classic-5.13

mdev-include := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))

mdev-api := $(filter classic,$(MDEV_API))
ifeq ($(MDEV_API),classic-5.13)
mdev-api := classic-5.13 classic
endif

# not ccflags-y: kbuild puts its own include directories before that
NOSTDINC_FLAGS += $(addprefix -I$(mdev-include)/,$(mdev-api)) -I$(mdev-include)

# where the source, "make install" and DKMS have it; DKMS adds an architecture, which has
# no dash, or it is another kernel whose name begins with that of this one
mdev-dkms := $(wildcard /var/lib/dkms/mdev/kernel-$(KERNELRELEASE)-*/module/Module.symvers)
mdev-symvers := $(firstword $(wildcard $(mdev-include)/../Module.symvers \
	$(mdev-include)/../$(KERNELRELEASE)/Module.symvers) \
	$(foreach file,$(mdev-dkms),$(if $(findstring -,$(patsubst \
	/var/lib/dkms/mdev/kernel-$(KERNELRELEASE)-%/module/Module.symvers,%,$(file))),,$(file))))
ifneq ($(mdev-symvers),)
KBUILD_EXTRA_SYMBOLS += $(mdev-symvers)
# <mdev_facts.h> says what mdev found out about this kernel
NOSTDINC_FLAGS += -DMDEV_FACTS -I$(patsubst %/,%,$(dir $(mdev-symvers)))
else
$(warning mdev is not built for Linux $(KERNELRELEASE))
endif
