# SPDX-License-Identifier: GPL-2.0-only
#
# What a person types. What kbuild reads is in Kbuild.

ifneq ($(words $(CURDIR)),1)
$(error kbuild cannot work in a folder with blanks in its name: $(CURDIR))
endif

KDIR ?= /lib/modules/$(shell uname -r)/build
KERNELS ?= 6.1 6.12 7.3

# How often make soak runs which kernel's selftests.
KERNEL ?= 6.12
N ?= 10

# The kernel's own configuration need not know of any of this. What is for
# vmlinux is not ours to build.
MDEV_CONFIG := CONFIG_VFIO_MDEV=m CONFIG_VFIO_MDEV_DEVICE=m \
	CONFIG_SAMPLE_VFIO_MDEV_MTTY=m CONFIG_SAMPLE_VFIO_MDEV_MNULL=m \
	CONFIG_SAMPLE_VFIO_MDEV_MDISP=m \
	CONFIG_SAMPLE_VFIO_MDEV_MEDU=m CONFIG_VFIO_MDEV_LATE=

.DEFAULT_GOAL := modules

help:
	@echo 'Build:'
	@echo '  make [KDIR=path]    mdev.ko, vfio_mdev.ko and samples/*.ko for the running'
	@echo '                      kernel, or for the one whose build folder is KDIR'
	@echo '  make install        install mdev.ko and vfio_mdev.ko (as root); they are'
	@echo '                      preferred over the kernel'"'"'s own mdev.ko. What vendors'
	@echo '                      build with goes to PREFIX=/usr/local, share/mdev; all'
	@echo '                      of it to another root if DESTDIR=path'
	@echo '  make uninstall      take that back; RELEASE=name for another kernel, or if KDIR'
	@echo '                      is gone'
	@echo '  make docs           the documents as HTML: build/docs/index.html'
	@echo '  make deb            packages for Debian, in build/deb: mdev-dkms, mdev-doc'
	@echo '  make clean          remove what was built'
	@echo
	@echo 'Try and test, in a virtual machine that is made as needed; installs the'
	@echo 'Debian packages it needs, with sudo if you are not root:'
	@echo '  make demo           the whole story on a stock 6.12 kernel'
	@echo '  make demo-guest     Debian'"'"'s QEMU runs a Linux guest with mediated serial cards and'
	@echo '                      a divided PCI device: tools/clients/clients qemu; some minutes'
	@echo '  make demo-display   pictures of a Linux guest on a mediated display, in build/picture'
	@echo '  make quick          after each edit: one boot of 6.12, the tests of the core, and'
	@echo '                      what of lint needs no kernel; a minute'
	@echo '  make check          lint, documents, make install, clients, and all selftests on the'
	@echo '                      stock kernels; some 12 minutes'
	@echo '  make check-tree     what needs a kernel of its own: the newest with all checkers on,'
	@echo '                      KUnit, late binding, the hammer; some 25 minutes, and'
	@echo '                      another 15 the first time, when that kernel is built'
	@echo '  make selftests      the selftests; TESTS="names" picks some, KERNELS is where:'
	@echo '                      "$(KERNELS)", and newest, which has KUnit'
	@echo '  make soak           the selftests of KERNEL=$(KERNEL), N=$(N) times, in orders drawn'
	@echo '                      from a seed, to see what fails by chance; SEED repeats'
	@echo '  make check-late     vendors and mdev, built in and as modules, at all levels'
	@echo '  make check-hard     what takes hours: every allocation fails once, the hammer with all'
	@echo '                      checkers and with that of data races, make fuzz, make coverage;'
	@echo '                      one table of it all; tools/testing/hard --help for parts'
	@echo '  make hammer         everything against everything, checked by a model, for ten minutes'
	@echo '                      on the newest kernel; make check-tree does it for one'
	@echo '  make coverage       which lines and branches the selftests reach, as HTML in'
	@echo '                      build/coverage; builds a kernel for it; not part of make check'
	@echo '  make check-clients  the distribution'"'"'s mdevctl, libvirt and QEMU with our modules,'
	@echo '                      and perf, trace-cmd and bpftrace, on a stock 6.12 kernel; make'
	@echo '                      check leaves out those that run a guest in the guest'
	@echo '  make check-docs     make docs, and run the commands that the documents show'
	@echo '  make check-install  make install and make uninstall, in roots and guests of the stock'
	@echo '                      kernels: what they do, and that they do no more'
	@echo '  make check-packages install, use, upgrade and purge the packages in fresh roots'
	@echo '                      of Debian 12 and 13; not part of make check'
	@echo '  make check-mutants  put faults into the sources, one at a time, and see which test'
	@echo '                      finds each; half an hour, not part of make check'
	@echo '  make lint           compiler warnings, sparse, checkpatch, kernel-doc, shellcheck,'
	@echo '                      coccinelle, and a model of a device'"'"'s life'
	@echo
	@echo '  make fuzz           a million inputs that nobody would think of, led by coverage;'
	@echo '                      hours'
	@echo
	@echo '  make bench          what mdev costs, against the kernel'"'"'s own and none at all; an'
	@echo '                      hour, wants a quiet machine; tables, plots in build/bench'
	@echo '  make bench-late     what a built-in vendor'"'"'s registration costs, by their number'
	@echo
	@echo 'For a kernel tree, KSRC=path:'
	@echo '  make graft          put the subsystem into it; again after a change'
	@echo '  make ungraft        take it out again'
	@echo '  make patches        the same as a series of patches, in build/patches'
	@echo
	@echo 'By hand: tools/vm/run --help boots a kernel with modules and a command.'

modules:
	@test -e '$(KDIR)/Makefile' || { \
		echo '$(KDIR) is not a kernel build folder: install the headers of' >&2; \
		echo "your kernel (linux-headers-$$(uname -r) on Debian) or set KDIR" >&2; \
		exit 1; }
	$(MAKE) -C '$(KDIR)' M='$(CURDIR)' $(MDEV_CONFIG) modules

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
		--also 'lint docs verdicts install clients tracers'

check-tree:
	@tools/testing/check --kernels newest --also 'late-m late-y'

soak:
	@tools/testing/soak $(KERNEL) $(N) $(SEED)

selftests:
	@tools/testing/check --kernels '$(KERNELS)' $(TESTS)

check-late:
	@tools/testing/late

check-hard:
	@tools/testing/hard

hammer:
	@MDEV_SECONDS=$${MDEV_SECONDS:-600} tools/testing/check --kernels newest mdev_hammer

coverage:
	@tools/testing/coverage $(TESTS)

check-clients:
	@tools/clients/clients
	@tools/clients/tracers

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

check-install:
	@tools/packages/check-install

check-packages:
	@tools/packages/check

check-mutants:
	@tools/testing/mutants/run

bench:
	@tools/bench/bench

bench-late:
	@tools/bench/late

graft:
	@tools/graft/graft $(KSRC)

ungraft:
	@tools/graft/graft --undo $(KSRC)

patches:
	@tools/graft/patches $(KSRC)

.PHONY: help modules install uninstall clean docs demo demo-guest demo-display quick check \
	check-tree soak selftests check-late check-hard hammer coverage check-clients check-docs check-packages check-mutants check-install \
	deb lint fuzz bench bench-late \
	graft ungraft patches
