# SPDX-License-Identifier: GPL-2.0-only
#
# What a person types. What kbuild reads is in Kbuild.

KDIR ?= /lib/modules/$(shell uname -r)/build
KERNELS ?= 6.1 6.12

RELEASE = $(shell cat $(KDIR)/include/config/kernel.release)
INSTALL_DIR = $(DESTDIR)/lib/modules/$(RELEASE)/updates

# The kernel's own configuration need not know of any of this. What is for
# vmlinux is not ours to build.
MDEV_CONFIG := CONFIG_VFIO_MDEV=m CONFIG_VFIO_MDEV_DEVICE=m \
	CONFIG_SAMPLE_VFIO_MDEV_MTTY=m CONFIG_SAMPLE_VFIO_MDEV_MNULL=m \
	CONFIG_VFIO_MDEV_LATE=

.DEFAULT_GOAL := modules

help:
	@echo 'Build:'
	@echo '  make [KDIR=path]    mdev.ko, vfio_mdev.ko and samples/*.ko for the running'
	@echo '                      kernel, or for the one whose build folder is KDIR'
	@echo '  make install        install mdev.ko and vfio_mdev.ko (as root); they are'
	@echo '                      preferred over the kernel'"'"'s own mdev.ko'
	@echo '  make uninstall      take that back'
	@echo '  make clean          remove what was built'
	@echo
	@echo 'Try and test, in a virtual machine that is made as needed; installs the'
	@echo 'Debian packages it needs, with sudo if you are not root:'
	@echo '  make demo           the whole story on a stock 6.12 kernel'
	@echo '  make check          lint, then the selftests on stock kernels; KERNELS="$(KERNELS)"'
	@echo '  make selftests      the selftests alone; TESTS="names" picks some'
	@echo '  make lint           compiler warnings, sparse, checkpatch, kernel-doc, shellcheck'
	@echo '  make bench-create   what a create costs, by number of devices'
	@echo
	@echo 'By hand: tools/vm/run --help boots a kernel with modules and a command.'

modules:
	@test -e $(KDIR)/Makefile || { \
		echo "$(KDIR) is not a kernel build folder: install the headers of" >&2; \
		echo "your kernel (linux-headers-$$(uname -r) on Debian) or set KDIR" >&2; \
		exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) $(MDEV_CONFIG) modules

# Not modules_install: that would take the samples along.
install: modules
	install -D -m 644 -t $(INSTALL_DIR) mdev.ko vfio_mdev.ko
	depmod $(if $(DESTDIR),-b $(DESTDIR)) $(RELEASE)

uninstall:
	$(RM) $(INSTALL_DIR)/mdev.ko $(INSTALL_DIR)/vfio_mdev.ko
	depmod $(if $(DESTDIR),-b $(DESTDIR)) $(RELEASE)

clean:
	$(RM) -r build
	@if [ -e $(KDIR)/Makefile ]; then \
		$(MAKE) -C $(KDIR) M=$(CURDIR) $(MDEV_CONFIG) clean; \
	else \
		find . -name '*.o' -o -name '*.ko' -o -name '*.mod*' \
			-o -name '.*.cmd' | xargs $(RM); \
	fi

demo:
	@tools/vm/demo

check: lint selftests

selftests:
	@tools/vm/check --kernels '$(KERNELS)' $(TESTS)

lint:
	@tools/lint

bench-create:
	@tools/bench/create

.PHONY: help modules install uninstall clean demo check selftests lint bench-create
