# SPDX-License-Identifier: GPL-2.0-only
#
# What a person types. What kbuild reads is in Kbuild.

ifneq ($(words $(CURDIR)),1)
$(error kbuild cannot work in a folder with blanks in its name: $(CURDIR))
endif

KDIR ?= /lib/modules/$(shell uname -r)/build
KERNELS ?= 6.1 6.12 7.3
ARCH_KERNELS ?= 6.12-arm64 6.12-arm64-16k 6.12-s390x newest-ccw newest-kvmgt

# How often make soak runs which kernel's selftests.
KERNEL ?= 6.12
N ?= 10

# The kernel's own configuration need not know of any of this. What is for
# vmlinux is not ours to build.
MDEV_CONFIG := CONFIG_VFIO_MDEV=m CONFIG_VFIO_MDEV_DEVICE=m CONFIG_VFIO_MDEV_PCI=m \
	CONFIG_SAMPLE_VFIO_MDEV_MTTY=m CONFIG_SAMPLE_VFIO_MDEV_MNULL=m \
	CONFIG_SAMPLE_VFIO_MDEV_HELLO_PCI=m \
	CONFIG_SAMPLE_VFIO_MDEV_MDISP=m \
	CONFIG_SAMPLE_VFIO_MDEV_MEDU=m CONFIG_SAMPLE_VFIO_MDEV_MEDU_DMA=m CONFIG_VFIO_MDEV_LATE=

.DEFAULT_GOAL := modules

help:
	@echo 'Build:'
	@echo '  make [KDIR=path]    build mdev.ko, vfio_mdev.ko, mdev_pci.ko and samples/*.ko for the'
	@echo '                      running kernel, or for the one whose build folder is KDIR'
	@echo '  make probe          print what that kernel has of what mdev needs to know'
	@echo '  make install        install mdev.ko, vfio_mdev.ko and mdev_pci.ko (as root) so that'
	@echo '                      modprobe prefers them to the kernel'"'"'s own mdev.ko, and'
	@echo '                      what vendor drivers are built with in share/mdev of'
	@echo '                      PREFIX=/usr/local; DESTDIR=path is another root'
	@echo '  make uninstall      remove what was installed; RELEASE=name is for another'
	@echo '                      kernel, or if KDIR is gone'
	@echo '  make docs           make HTML of the documents: build/docs/index.html'
	@echo '  make deb            build the Debian packages mdev-dkms and mdev-doc in'
	@echo '                      build/deb'
	@echo '  make rpm            build the package for Fedora and RHEL in build/rpm'
	@echo '  make clean          remove what was built'
	@echo
	@echo 'Try and test, in virtual machines that are made as needed. This installs the'
	@echo 'Debian packages that it needs, with sudo if you are not root:'
	@echo '  make demo           show mdevs at work on a stock 6.12 kernel: a minute'
	@echo '  make demo-guest     run a Linux guest with mediated serial cards and a divided'
	@echo '                      PCI device in Debian'"'"'s QEMU: some minutes'
	@echo '  make demo-display   make pictures of a Linux guest on a mediated display, in'
	@echo '                      build/picture'
	@echo '  make quick          after each edit: the tests of the core on 6.12, and the'
	@echo '                      parts of lint that need no kernel: about a minute'
	@echo '  make check          before each patch: lint, documents, make install, clients,'
	@echo '                      and all selftests on the stock 6.1, 6.12 and 7.3: about 12'
	@echo '                      minutes'
	@echo '  make check-tree     the tests on the newest kernel with checkers for all faults,'
	@echo '                      KUnit, late binding, the hammer: about 24 minutes, and 20'
	@echo '                      more the first time, when three kernels are built'
	@echo '  make selftests      run the selftests; TESTS="names" picks some, KERNELS lists'
	@echo '                      the kernels: "$(KERNELS)" by default, and newest, which'
	@echo '                      has KUnit'
	@echo '  make soak           run the selftests of KERNEL=$(KERNEL) N=$(N) times, each'
	@echo '                      time in another order, to find failures by chance; SEED'
	@echo '                      repeats an order'
	@echo '  make lint           compiler warnings, sparse, checkpatch, kernel-doc,'
	@echo '                      shellcheck, coccinelle, models of locks and states'
	@echo
	@echo 'Parts of make check or make check-tree:'
	@echo '  make check-clients  run Debian'"'"'s mdevctl, libvirt and QEMU with our modules,'
	@echo '                      and perf, trace-cmd and bpftrace, on a stock 6.12 kernel;'
	@echo '                      make check leaves out those that run a guest in the guest'
	@echo '  make check-docs     make docs, and run the commands that the documents show'
	@echo '  make check-install  make install and make uninstall in roots and guests of the'
	@echo '                      stock kernels'
	@echo '  make conform        say what a VMM would stumble over in a vendor of PCI'
	@echo '                      devices: MODULE=path of its .ko, built for the stock 6.12'
	@echo '  make check-late     test vendors and mdev, built in and as modules, at all'
	@echo '                      initcall levels'
	@echo '  make hammer         run random operations that a model checks, for ten'
	@echo '                      minutes, on the newest kernel; make check-tree does it for'
	@echo '                      20 seconds'
	@echo
	@echo 'Not part of these:'
	@echo '  make check-packages install, use, upgrade and purge the packages in fresh'
	@echo '                      roots of Debian 12 and 13'
	@echo '  make check-arch     run the selftests on stock 6.12 kernels for arm64, with pages'
	@echo '                      of 4 and of 16 KiB, and for s390x, where the vendor vfio_ccw'
	@echo '                      does I/O as well, also when it is in vmlinux, as'
	@echo '                      kvmgt is: about 20 minutes, and half an hour once'
	@echo '  make check-kernels  build for other kernels, and for copies of headers in which'
	@echo '                      one fact is changed: about 10 minutes'
	@echo '  make check-mutants  put faults into the sources, one at a time, and report'
	@echo '                      which test finds each: 20 minutes'
	@echo '  make check-hard     what takes hours, with one table in the end: each'
	@echo '                      allocation fails once, the hammer with all checkers and'
	@echo '                      with that of data races, make fuzz, make coverage;'
	@echo '                      tools/testing/hard --help lists the parts'
	@echo '  make coverage       report the lines and branches that the selftests reach, as'
	@echo '                      HTML in build/coverage; builds a kernel for it'
	@echo '  make fuzz           run a million random inputs that are guided by coverage:'
	@echo '                      hours'
	@echo '  make bench          measure what mdev costs, compared with the kernel'"'"'s own'
	@echo '                      and with none, on a quiet machine: an hour; tables and'
	@echo '                      plots are in build/bench'
	@echo '  make bench-late     measure what the registration of built-in vendors costs,'
	@echo '                      by their number'
	@echo
	@echo 'For a kernel tree, KSRC=path:'
	@echo '  make graft          put the subsystem into it; again after a change'
	@echo '  make ungraft        take it out again'
	@echo '  make patches        write the same change as a series of patches to'
	@echo '                      build/patches'
	@echo
	@echo 'To boot a kernel with modules and a command by hand: tools/vm/run --help'

modules: headers
	$(MAKE) -C '$(KDIR)' M='$(CURDIR)' $(MDEV_CONFIG) modules

probe: headers
	@compat/probe --kernel '$(KDIR)'

# One line, as kbuild's own message would be long.
headers:
	@[ -e '$(KDIR)/Makefile' ] && [ -e '$(KDIR)/include/generated/autoconf.h' ] || { \
		echo 'mdev: $(KDIR) has no headers of a kernel: install the headers of your' \
			"kernel (linux-headers-$$(uname -r) on Debian) or set KDIR" >&2; exit 1; }

# Not modules_install: that would take the samples along, and goes where "make
# kernelrelease" says. DESTDIR, PREFIX, RELEASE and KDIR are in the environment.
install: modules
	@tools/packages/install

uninstall:
	@tools/packages/install --undo

clean:
	$(RM) -r build
	@if [ -e '$(KDIR)/Makefile' ]; then \
		$(MAKE) -C '$(KDIR)' M='$(CURDIR)' $(MDEV_CONFIG) clean; \
	else \
		find . -type f \( -name '*.o' -o -name '*.ko' -o -name '*.mod*' \
			-o -name '.*.cmd' \) ! -path './.git/*' -delete; \
	fi

demo:
	@tools/demo/demo

demo-guest:
	@tools/clients/clients qemu

demo-display:
	@tools/demo/picture

quick:
	@tools/testing/check --kernels 6.12 --also lint-quick \
		mdev_sysfs mdev_lifetime mdev_bugs

# Without the clients that run a guest in the guest: those take too long.
check:
	@tools/testing/check --kernels '$(KERNELS)' \
		--also 'install lint docs tracers clients verdicts' \
		$(if $(filter check-tree,$(MAKECMDGOALS)),--ahead 'newest newest-leaks newest-y')

check-tree:
	@tools/testing/check --kernels 'newest newest-leaks' \
		--also 'late-m late-y late-leaks'

soak:
	@tools/testing/soak '$(KERNEL)' $(N) $(SEED)

selftests:
	@tools/testing/check --kernels '$(KERNELS)' $(TESTS)

check-late:
	@tools/testing/late

check-hard:
	@tools/testing/hard

hammer:
	@MDEV_SECONDS=$${MDEV_SECONDS:-600} tools/testing/check --kernels 'newest newest-leaks' mdev_hammer

coverage:
	@tools/testing/coverage $(TESTS)

check-clients:
	@tools/clients/clients
	@tools/clients/clients --suite trixie pci vendor v1
	@tools/clients/clients --kernel 6.1 --suite trixie migrate
	@tools/clients/tracers

conform:
	@tools/testing/conform $(MODULE)

check-kernels:
	@tools/testing/kernels

# For kernel-doc, a tree in which ours are where they are in the kernel's.
docs:
	@tools/lib/deps docs
	@rm -rf build/docs build/docs-tree && mkdir -p build/docs-tree/drivers/vfio
	@ln -s $(CURDIR) build/docs-tree/drivers/vfio/mdev
	@ln -s $(CURDIR)/include $(CURDIR)/Documentation build/docs-tree
	@ksrc=$$(tools/kernels/ksrc) && ln -s $$ksrc/scripts build/docs-tree && \
		srctree=$(CURDIR)/build/docs-tree PYTHONPATH=$$ksrc/Documentation/sphinx \
		PYTHONDONTWRITEBYTECODE=1 \
		sphinx-build -q -n -W --keep-going -j auto Documentation build/docs
	@echo build/docs/index.html

check-docs: docs
	@tools/docs/commands

lint:
	@tools/lint/lint

fuzz:
	@tools/testing/fuzz/run

deb:
	@tools/packages/build

rpm:
	@tools/packages/rpm

check-install:
	@tools/packages/check-install

check-packages:
	@tools/packages/check

check-arch:
	@tools/testing/check --kernels '$(ARCH_KERNELS)'

check-mutants:
	@tools/testing/mutants/run

bench:
	@tools/bench/bench

bench-late:
	@tools/bench/late

ksrc = $(or $(KSRC),$(error set KSRC to the path of a kernel tree))

graft:
	@tools/graft/graft $(ksrc)

ungraft:
	@tools/graft/graft --undo $(ksrc)

patches:
	@tools/graft/patches $(ksrc)

.PHONY: help modules probe headers install uninstall clean docs demo demo-guest demo-display quick check \
	check-tree soak selftests check-arch check-late check-hard hammer coverage check-clients conform check-kernels check-docs check-packages check-mutants check-install \
	deb rpm lint fuzz bench bench-late \
	graft ungraft patches
