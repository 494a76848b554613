# SPDX-License-Identifier: BSD-3-Clause

# What every Makefile.am of the tree shares.  A list ends in $(NULL), so that
# adding to it touches one line.

NULL =

AM_CPPFLAGS = \
	-I$(top_srcdir)/core \
	$(NULL)

AM_CFLAGS = \
	-std=gnu11 \
	-pthread \
	$(WARNING_CFLAGS) \
	$(SPECIAL_CFLAGS) \
	$(NULL)

AM_LDFLAGS = \
	-pthread \
	$(SPECIAL_CFLAGS) \
	$(NULL)

# What tests find in their environment.  tests/bin/nbdkit comes first in the
# path: it loads the sanitizer's runtime when the plugin needs one.
AM_TESTS_ENVIRONMENT = \
	PATH="$(abs_top_builddir)/tests/bin:$(abs_top_srcdir)/tests:$$PATH"; \
	VMDKIT_PLUGIN="$(abs_top_builddir)/plugin/.libs/nbdkit-vmdk-plugin.so"; \
	VMDKIT="$(abs_top_builddir)/tools/vmdkit"; \
	CC="$(CC)"; \
	srcdir="$(srcdir)"; \
	top_srcdir="$(abs_top_srcdir)"; \
	top_builddir="$(abs_top_builddir)"; \
	UBSAN_OPTIONS="print_stacktrace=1:$$UBSAN_OPTIONS"; \
	TSAN_OPTIONS="halt_on_error=1:$$TSAN_OPTIONS"; \
	MALLOC_PERTURB_=163; \
	LC_ALL=C; \
	export PATH VMDKIT_PLUGIN VMDKIT CC srcdir top_srcdir top_builddir; \
	export UBSAN_OPTIONS TSAN_OPTIONS MALLOC_PERTURB_ LC_ALL; \
	$(NULL)

# Scripts end in .sh and are run by bash; programs have no extension and run
# under whatever the build or the target asks for (valgrind, setarch).
TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = bash
LOG_COMPILER = $(TSAN_WRAPPER)
