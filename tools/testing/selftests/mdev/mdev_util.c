// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the mdev tests share; see mdev_util.h.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/netlink.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "mdev_util.h"

/* A path; on the stack, so that threads do not meet. */
struct path {
	char name[PATH_MAX];
};

static struct path path_vformat(const char *fmt, va_list ap)
{
	struct path path;

	vsnprintf(path.name, sizeof(path.name), fmt, ap);
	return path;
}

int file_write_bytes(const char *path, const void *buf, size_t len)
{
	ssize_t ret;
	int fd;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = write(fd, buf, len);
	if (ret < 0)
		ret = -errno;
	else
		ret = (size_t)ret == len ? 0 : -EIO;
	close(fd);
	return ret;
}

int file_write(const char *text, const char *fmt, ...)
{
	struct path path;
	va_list ap;

	va_start(ap, fmt);
	path = path_vformat(fmt, ap);
	va_end(ap);
	return file_write_bytes(path.name, text, strlen(text));
}

int file_read(char *buf, size_t size, const char *fmt, ...)
{
	struct path path;
	ssize_t ret;
	int fd;
	va_list ap;

	va_start(ap, fmt);
	path = path_vformat(fmt, ap);
	va_end(ap);
	fd = open(path.name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = read(fd, buf, size - 1);
	if (ret < 0)
		ret = -errno;
	close(fd);
	if (ret < 0)
		return ret;
	if (ret && buf[ret - 1] == '\n')
		ret--;
	buf[ret] = '\0';
	return ret;
}

int file_read_int(const char *fmt, ...)
{
	struct path path;
	char buf[32];
	int ret;
	va_list ap;

	va_start(ap, fmt);
	path = path_vformat(fmt, ap);
	va_end(ap);
	ret = file_read(buf, sizeof(buf), "%s", path.name);
	return ret < 0 ? ret : atoi(buf);
}

int file_mode(const char *fmt, ...)
{
	struct path path;
	struct stat st;
	va_list ap;

	va_start(ap, fmt);
	path = path_vformat(fmt, ap);
	va_end(ap);
	return stat(path.name, &st) ? -errno : (int)(st.st_mode & 07777);
}

bool file_exists(const char *fmt, ...)
{
	struct path path;
	struct stat st;
	va_list ap;

	va_start(ap, fmt);
	path = path_vformat(fmt, ap);
	va_end(ap);
	return !lstat(path.name, &st);
}

int file_write_fails(const char *function, int n, const char *text,
		     const char *path)
{
	static const char fail[] = "/sys/module/mdev_test_fail/parameters/call";
	char call[64];
	int ret, armed;

	snprintf(call, sizeof(call), "%s %d", function, n);
	ret = file_write(call, "%s", fail);
	if (ret)
		return ret;
	ret = file_write(text, "%s", path);
	armed = file_read_int("%s", fail);
	file_write("-", "%s", fail);
	return armed && !ret ? 1 : ret;
}

int link_base(char *buf, size_t size, const char *fmt, ...)
{
	struct path path;
	char target[PATH_MAX] = "/";
	ssize_t len;
	va_list ap;

	va_start(ap, fmt);
	path = path_vformat(fmt, ap);
	va_end(ap);
	/* a system call, where realpath() takes one for each folder */
	len = readlink(path.name, target + 1, sizeof(target) - 2);
	if (len > 0)
		target[1 + len] = '\0';
	else if (errno != EINVAL || !realpath(path.name, target))
		return -errno;
	snprintf(buf, size, "%s", strrchr(target, '/') + 1);
	return 0;
}

int dir_count(const char *path)
{
	struct dirent *de;
	int count = 0;
	DIR *dir;

	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((de = readdir(dir)))
		count += de->d_name[0] != '.';
	closedir(dir);
	return count;
}

bool linux_since(int major, int minor)
{
	struct utsname name;
	int a, b;

	if (uname(&name) || sscanf(name.release, "%d.%d", &a, &b) != 2)
		return false;
	return a > major || (a == major && b >= minor);
}

/*
 * Is this the folder of a driver that is not registered any more? As long as one is
 * registered, its file "uevent" is there.
 */
static bool driver_stays(const char *path)
{
	return !file_exists("%s/uevent", path) && file_exists("%s", path);
}

/* mdev registers both, and unregisters both */
static bool class_stays(void)
{
	return !file_exists("/sys/bus/mdev") && file_exists(MDEV_CLASS);
}

/* Find one on a bus. */
static bool find_driver(const char *bus, struct path *stays)
{
	struct dirent *de;
	bool found = false;
	DIR *dir;

	snprintf(stays->name, sizeof(stays->name), "/sys/bus/%s/drivers", bus);
	dir = opendir(stays->name);
	if (!dir)
		return false;
	while (!found && (de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(stays->name, sizeof(stays->name),
			 "/sys/bus/%s/drivers/%s", bus, de->d_name);
		found = driver_stays(stays->name);
	}
	closedir(dir);
	return found;
}

/*
 * The buses that modules of these tests have drivers on. To look at all there are, some
 * twenty, would take a fifth of the time of most tests.
 */
static const char * const buses[] = { "mdev", "pci", "platform", "css" };

static bool bus_is_known(const char *name, size_t len)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(buses); i++)
		if (strlen(buses[i]) == len && !strncmp(buses[i], name, len))
			return true;
	return false;
}

/* A module's drivers, as its folder has them: "BUS:DRIVER" each */
static bool buses_are_known(const char *module)
{
	struct dirent *de;
	bool known = true;
	char path[96];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/module/%s/drivers", module);
	dir = opendir(path);
	if (!dir)
		return true;
	while (known && (de = readdir(dir)))
		known = de->d_name[0] == '.' ||
			bus_is_known(de->d_name, strcspn(de->d_name, ":"));
	if (!known)
		fprintf(stderr, "# %s has %s, whose bus is not among those in mdev_util.c\n",
			module, de->d_name);
	closedir(dir);
	return known;
}

static bool find_driver_on_buses(struct path *stays)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(buses); i++)
		if (find_driver(buses[i], stays))
			return true;
	return false;
}

/*
 * Wait until no name in sysfs is of nothing any more. Unloading takes away most names
 * itself, and waits for the module's own. But the driver core leaves those
 * of drivers and of a class_compat to the last reference, which somebody else may
 * have, and which CONFIG_DEBUG_KOBJECT_RELEASE drops up to 4 s later. Until then,
 * nothing can be registered under the same name.
 */
int modules_settle(void)
{
	struct path stays = { MDEV_CLASS };
	bool gone = wait_for(!class_stays());

	while (gone && find_driver_on_buses(&stays))
		gone = wait_for(!driver_stays(stays.name));
	if (gone)
		return 0;
	fprintf(stderr, "# %s stays\n", stays.name);
	return -ETIMEDOUT;
}

/* Is it loaded, and through with its initialization? */
static bool module_is_live(const char *name)
{
	char state[16];

	return file_read(state, sizeof(state), "/sys/module/%s/initstate", name) > 0 &&
	       !strncmp(state, "live", 4);
}

/* The name of the module in a file */
static void name_of(const char *path, char name[64])
{
	const char *base = strrchr(path, '/');
	size_t i;

	base = base ? base + 1 : path;
	snprintf(name, 64, "%.*s", (int)strcspn(base, "."), base);
	for (i = 0; name[i]; i++)
		if (name[i] == '-')
			name[i] = '_';
}

/* The line "FILE: FILE..." of a module in modules.dep; the caller frees it. */
static char *depends_line(const char *folder, const char *wanted)
{
	char list[160], name[64], *line = NULL, *colon;
	bool found = false;
	size_t size = 0;
	FILE *file;

	snprintf(list, sizeof(list), "%s/modules.dep", folder);
	file = fopen(list, "re");
	while (file && !found && getline(&line, &size, file) > 0) {
		colon = strchr(line, ':');
		if (!colon)
			continue;
		*colon = '\0';
		name_of(line, name);
		found = !strcmp(name, wanted);
		*colon = ' ';
	}
	if (file)
		fclose(file);
	if (!found) {
		free(line);
		return NULL;
	}
	return line;
}

/* Load a file, unless its module is there. */
static int file_load(const char *folder, const char *file, const char *args)
{
	char name[64], path[PATH_MAX];
	int fd, ret;

	name_of(file, name);
	if (module_is_live(name))
		return 0;
	/* only modprobe knows of soft dependencies, of which vfio has one */
	if (!strcmp(name, "vfio"))
		return -ENOEXEC;
	snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, args, 0) ? -errno : 0;
	close(fd);
	/* somebody else was quicker */
	return ret == -EEXIST ? 0 : ret;
}

/*
 * Load a module and what it needs, as modprobe does: what a module needs most comes last in
 * modules.dep. -ENOEXEC if only modprobe can do it, which unpacks files; -ENOENT if
 * what has been loaded was unloaded meanwhile.
 */
static int module_insert(const char *args)
{
	char name[64], folder[128], *files[32], *line, *rest;
	size_t len = strcspn(args, " ");
	int n = 0, ret = -ENOEXEC;
	struct utsname uts;

	uname(&uts);
	snprintf(folder, sizeof(folder), "/lib/modules/%s", uts.release);
	snprintf(name, sizeof(name), "%.*s", (int)len, args);
	line = depends_line(folder, name);
	rest = line;
	while (n < (int)ARRAY_SIZE(files) && (files[n] = strsep(&rest, "\n ")))
		n += *files[n] != '\0';
	while (n--) {
		ret = file_load(folder, files[n], n ? "" : args + len + strspn(args + len, " "));
		if (ret)
			break;
	}
	free(line);
	return ret;
}

/*
 * Without a shell, and not for nothing: with all checkers on, starting modprobe takes
 * three times as long as loading a module.
 */
int module_load(const char *args)
{
	static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
	char text[512], *rest = text, *argv[16] = { "modprobe" };
	unsigned int n = 1;
	int status;
	pid_t pid;

	if (!strchr(args, ' ') && module_is_live(args))
		return 0;
	status = module_insert(args);
	if (status != -ENOEXEC && status != -ENOENT)
		return status ? modules_settle() ?: -EINVAL : 0;
	snprintf(text, sizeof(text), "%s", args);
	while (n < ARRAY_SIZE(argv) - 1 && (argv[n] = strsep(&rest, " ")))
		n++;
	/*
	 * Before 6.3, the kernel dies if the last file of a container is closed while
	 * another process closes the last one of a group in it. Programs that start have
	 * copies of all fds of other threads for a moment. Two of them can come to that, and
	 * one beside a thread that closes its files, if it is very quick.
	 */
	if (!linux_since(6, 3))
		pthread_mutex_lock(&starting);
	pid = vfork();
	if (!pid) {
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		status = -1;
	if (!linux_since(6, 3))
		pthread_mutex_unlock(&starting);
	return status ? modules_settle() ?: -EINVAL : 0;
}

int module_delete(const char *name)
{
	if (!buses_are_known(name))
		return -EINVAL;
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

int module_unload(const char *name)
{
	return module_delete(name) ?: modules_settle();
}

bool module_loaded(const char *name)
{
	return file_exists("/sys/module/%s/refcnt", name);
}

int module_refs(const char *name)
{
	return file_read_int("/sys/module/%s/refcnt", name);
}

/* A file as a string. read() returns a page of it, or what is left. */
static int text_read(char *text, size_t size, const char *path)
{
	FILE *file = fopen(path, "re");
	size_t len;

	if (!file)
		return -errno;
	len = fread(text, 1, size - 1, file);
	fclose(file);
	text[len] = '\0';
	return len < size - 1 ? 0 : -EOVERFLOW;
}

/* Is it in this text of /proc/modules, a line for each, which begins with the name? */
static bool list_has(const char *list, const char *name)
{
	size_t len = strlen(name);
	const char *line = list;

	while (strncmp(line, name, len) || line[len] != ' ') {
		line = strchr(line, '\n');
		if (!line++)
			return false;
	}
	return true;
}

/* NULL ends @names. One list of all, as there are many names and few modules. */
static int modules_off(const char * const *names)
{
	static char list[32768];
	bool some;
	int i, ret;

	/* until there are none: a load may come to its end meanwhile */
	do {
		some = false;
		ret = text_read(list, sizeof(list), "/proc/modules");
		for (i = 0; names[i] && !ret; i++) {
			if (!list_has(list, names[i]))
				continue;
			some = true;
			/* in use by what goes late, or just being loaded */
			wait_for((ret = module_delete(names[i])) != -EAGAIN &&
				 ret != -EBUSY);
			if (ret == -ENOENT)
				ret = 0;
			if (ret)
				fprintf(stderr, "# %s cannot be unloaded: %s\n",
					names[i], strerror(-ret));
		}
	} while (some && !ret);
	return ret;
}

static int vendors_off(void)
{
	static const char * const names[] = {
		"mtty", "mnull", "mdisp", "medu", "medu_dma", "hello_pci",
		"mtty_stock", "mtty_classic", "mdpy_classic", "mbochs_classic", "vfio_ccw",
		"mdev_test_async", "mdev_test_classic", "mdev_test_classic_5_13",
		"mdev_test_dma", "mdev_test_log", "mdev_test_bridge", "mdev_test",
		"mdev_test_pci", "mdev_test_iommu", "mdev_test_iommu_5_13",
		"mdev_test_v1", "mdev_test_modern", "mdev_test_fail",
		NULL,
	};

	return modules_off(names);
}

/* Does nobody but modules that depend on it use this one? */
static bool module_is_idle(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/module/%s/holders", name);
	return !module_loaded(name) || module_refs(name) == dir_count(path);
}

/* The modules stay, so that nothing else would tell of an object that does. */
static bool core_is_idle(void)
{
	return file_read_int("/sys/kernel/debug/mdev/objects") <= 0 &&
	       module_is_idle("mdev") && module_is_idle("vfio_mdev") &&
	       module_is_idle("mdev_pci");
}

int vendors_reset(void)
{
	int ret = vendors_off() ?: modules_settle();

	if (ret || wait_for(core_is_idle()))
		return ret;
	fprintf(stderr, "# somebody still uses mdev, or has lost a reference\n");
	return -EBUSY;
}

int modules_reset(void)
{
	static const char * const names[] = {
		"mdev_pci", "vfio_mdev", "mdev", NULL,
	};

	return vendors_off() ?: modules_off(names) ?: modules_settle();
}

int modules_autoload_settled(char *old, size_t size)
{
	struct path self;
	int ret;

	ret = file_read(old, size, MODPROBE);
	if (ret < 0)
		return ret;
	if (!realpath("/proc/self/exe", self.name))
		return -errno;
	return file_write(self.name, MODPROBE);
}

int modules_autoload_restore(const char *old)
{
	return file_write(old, MODPROBE);
}

/* The kernel has started this program instead: modprobe -q -- MODULE. */
static __attribute__((constructor)) void be_modprobe(int argc, char **argv)
{
	if (argc != 4 || strcmp(argv[1], "-q") || strcmp(argv[2], "--"))
		return;
	if (modules_settle())
		_exit(1);
	/* kmod goes by the name it is called by */
	argv[0] = "modprobe";
	execvp(argv[0], argv);
	_exit(1);
}

void uuid_next(char uuid[UUID_LEN + 1])
{
	static unsigned int count;

	snprintf(uuid, UUID_LEN + 1, "%08x-feed-4bad-8eef-%012x",
		 getpid(), ++count);
}

int mdev_create(const char *type, const char *uuid)
{
	char parent[64];
	const char *slash = strchr(type, '/');

	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - type), type);
	return file_write(uuid, MDEV_CLASS "/%s/mdev_supported_types/%s/create",
			  parent, slash + 1);
}

int mdev_remove(const char *uuid)
{
	return file_write("1", MDEV_DEVICES "/%s/remove", uuid);
}

bool mdev_exists(const char *uuid)
{
	return file_exists(MDEV_DEVICES "/%s", uuid);
}

int mdev_available(const char *type)
{
	const char *slash = strchr(type, '/');

	return file_read_int(MDEV_CLASS "/%.*s/mdev_supported_types/%s/available_instances",
			     (int)(slash - type), type, slash + 1);
}

int mdev_driver_name(const char *uuid, char *buf, size_t size)
{
	return link_base(buf, size, MDEV_DEVICES "/%s/driver", uuid);
}

#define GROUPS	"/sys/kernel/iommu_groups"

/* what goes last comes first */
static const char * const leftover_dirs[] = {
	GROUPS, "/sys/class/vfio", "/sys/class/vfio-dev", MDEV_DEVICES,
};

/* Where there is an IOMMU, PCI devices have groups, which stay. */
static bool group_is_real(const char *group)
{
	struct dirent *de;
	bool real = false;
	char path[512];
	DIR *dir;

	snprintf(path, sizeof(path), GROUPS "/%s/devices", group);
	dir = opendir(path);
	while (dir && !real && (de = readdir(dir)))
		real = strchr(de->d_name, ':');
	if (dir)
		closedir(dir);
	return real;
}

static int leftovers_in(const char *path)
{
	struct dirent *de;
	int count = 0;
	DIR *dir;

	dir = opendir(path);
	while (dir && (de = readdir(dir)))
		count += de->d_name[0] != '.' &&
			 (strcmp(path, GROUPS) || !group_is_real(de->d_name));
	if (dir)
		closedir(dir);
	return count;
}

/* in the first folder that has any */
static int leftovers(void)
{
	unsigned int i;
	int count = 0;

	for (i = 0; !count && i < ARRAY_SIZE(leftover_dirs); i++)
		count = leftovers_in(leftover_dirs[i]);
	return count;
}

/* A group goes with the last reference to it, which may be released late. */
int mdev_leftovers(void)
{
	unsigned int i;

	if (wait_for(!leftovers()))
		return 0;
	for (i = 0; i < ARRAY_SIZE(leftover_dirs); i++)
		fprintf(stderr, "# %d in %s\n", leftovers_in(leftover_dirs[i]),
			leftover_dirs[i]);
	return leftovers();
}

long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

pid_t fork_child(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid)
		signal(SIGALRM, SIG_DFL);
	return pid;
}

void child_exit(int ret)
{
	/* errnos fit into an exit status */
	_exit(-ret);
}

int child_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECANCELED;
}

bool child_running(pid_t pid)
{
	siginfo_t info = {};

	return !waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
	       !info.si_pid;
}

/* How often it has gone to sleep; -1 if it does not sleep. */
static long child_sleeps(pid_t pid)
{
	char buf[4096], *at;

	if (file_read(buf, sizeof(buf), "/proc/%d/status", pid) < 0)
		return -1;
	if (!strstr(buf, "\nState:\tD") && !strstr(buf, "\nState:\tS"))
		return -1;
	at = strstr(buf, "\nvoluntary_ctxt_switches:");
	return at ? atol(strchr(at, ':') + 1) : -1;
}

static bool child_slept(pid_t pid)
{
	long sleeps = child_sleeps(pid);

	sleep_ms(100);
	return sleeps >= 0 && sleeps == child_sleeps(pid);
}

bool child_blocks(pid_t pid)
{
	return wait_for(!child_running(pid) || child_slept(pid)) &&
	       child_running(pid);
}

/* A child that writes must not keep open what the test closes meanwhile. */
static void drop_fds(void)
{
	close_range(STDERR_FILENO + 1, ~0U, 0);
}

int fd_of(pid_t pid, int fd)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	int ret = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	close(pidfd);
	return ret;
}

pid_t file_write_child(const char *text, const char *fmt, ...)
{
	struct path path;
	pid_t pid;
	va_list ap;

	va_start(ap, fmt);
	path = path_vformat(fmt, ap);
	va_end(ap);
	pid = fork_child();
	if (!pid) {
		drop_fds();
		child_exit(file_write(text, "%s", path.name));
	}
	return pid;
}

pid_t mdev_create_child(const char *type, const char *uuid)
{
	pid_t pid = fork_child();

	if (!pid) {
		drop_fds();
		child_exit(mdev_create(type, uuid));
	}
	return pid;
}

pid_t mdev_remove_child(const char *uuid)
{
	return file_write_child("1", MDEV_DEVICES "/%s/remove", uuid);
}

int uevent_open(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd, size = 1 << 20;

	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC,
		    NETLINK_KOBJECT_UEVENT);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -errno;
	}
	return fd;
}

int uevent_next(int fd, const char *path, struct uevent *ev)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	long end = now_ms() + WAIT_MS, left = WAIT_MS;
	ssize_t len;

	while (poll(&pfd, 1, left) > 0) {
		len = recv(fd, ev->buf, sizeof(ev->buf) - 1, 0);
		if (len < 0)
			return -errno;
		ev->buf[len] = '\0';
		ev->len = len;
		/* "action@path", then variables, each ended by a NUL */
		if (strstr(ev->buf, path))
			return 0;
		left = end - now_ms();
		if (left < 0)
			left = 0;	/* less would be for ever */
	}
	return -ETIMEDOUT;
}

const char *uevent_get(const struct uevent *ev, const char *name)
{
	const char *p = ev->buf, *end = ev->buf + ev->len;
	size_t len = strlen(name);

	for (; p < end; p += strlen(p) + 1)
		if (!strncmp(p, name, len) && p[len] == '=')
			return p + len + 1;
	return NULL;
}

const char *uevent_action(const struct uevent *ev)
{
	return uevent_get(ev, "ACTION") ?: "";
}

int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

/* @lost: is told if the kernel has overwritten lines before they were read */
static bool kmsg_has(int fd, const char *one, const char *two, bool *lost)
{
	char line[2048];
	ssize_t len;

	while ((len = read(fd, line, sizeof(line) - 1)) > 0 ||
	       (len < 0 && errno == EPIPE)) {
		*lost |= len < 0;
		line[len > 0 ? len : 0] = '\0';
		if (strstr(line, one) && strstr(line, two))
			return true;
	}
	return false;
}

bool kmsg_find(int fd, const char *one, const char *two)
{
	bool lost;

	return wait_for(kmsg_has(fd, one, two, &lost));
}

bool kmsg_lacks(int fd, const char *one, const char *two)
{
	bool lost = false;

	sleep_ms(1000);
	if (kmsg_has(fd, one, two, &lost))
		return false;
	if (lost)
		fprintf(stderr, "# lines of the kernel's log were lost\n");
	return !lost;
}

int vfio_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

ssize_t vfio_read(int fd, void *buf, size_t count, off_t pos)
{
	ssize_t ret = pread(fd, buf, count, pos);

	return ret < 0 ? -errno : ret;
}

ssize_t vfio_write(int fd, const void *buf, size_t count, off_t pos)
{
	ssize_t ret = pwrite(fd, buf, count, pos);

	return ret < 0 ? -errno : ret;
}

static bool vfio_iommufd;

bool vfio_use_iommufd(bool iommufd)
{
	vfio_iommufd = iommufd;
	return !iommufd || file_exists("/dev/iommu");
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int open_fd(int *fd, const char *path)
{
	*fd = open(path, O_RDWR | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

static int open_group(struct vfio_client *vc, const char *uuid)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char group[16], path[32];
	int ret;

	ret = link_base(group, sizeof(group), MDEV_DEVICES "/%s/iommu_group",
			uuid);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "/dev/vfio/%s", group);

	ret = open_fd(&vc->group, path);
	if (ret)
		return ret;
	ret = vfio_ioctl(vc->group, VFIO_GROUP_GET_STATUS, &status);
	if (ret)
		return ret;
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return -EPERM;
	return vfio_ioctl(vc->group, VFIO_GROUP_SET_CONTAINER, &vc->container);
}

/* VFIO has this loaded when it is loaded itself, and does not wait for it. */
static bool type1_is_there(void)
{
	char state[16];

	/* what is built in has no state */
	return file_exists("/sys/module/vfio_iommu_type1") &&
	       (file_read(state, sizeof(state),
			  "/sys/module/vfio_iommu_type1/initstate") < 0 ||
		!strcmp(state, "live"));
}

static int attach_group(struct vfio_client *vc, const char *uuid)
{
	int ret;

	ret = open_fd(&vc->container, "/dev/vfio/vfio");
	if (ret)
		return ret;
	ret = open_group(vc, uuid);
	if (ret)
		return ret;
	if (!wait_for(type1_is_there()))
		return -ENOENT;
	return vfio_ioctl(vc->container, VFIO_SET_IOMMU,
			  (void *)VFIO_TYPE1v2_IOMMU);
}

static int attach_iommufd(struct vfio_client *vc)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret;

	ret = open_fd(&vc->iommufd, "/dev/iommu");
	if (ret)
		return ret;
	ret = vfio_ioctl(vc->iommufd, IOMMU_IOAS_ALLOC, &alloc);
	vc->ioas = alloc.out_ioas_id;
	return ret;
}

static void vfio_init(struct vfio_client *vc)
{
	vc->device = -1;
	vc->group = -1;
	vc->container = -1;
	vc->iommufd = -1;
}

int vfio_attach(struct vfio_client *vc, const char *uuid)
{
	int ret;

	vfio_init(vc);
	ret = vfio_iommufd ? attach_iommufd(vc) : attach_group(vc, uuid);
	if (ret)
		vfio_close(vc);
	return ret;
}

/* the name of the only entry of a folder */
static int only_entry(char *buf, size_t size, const char *path)
{
	struct dirent *de;
	int ret = -ENOENT;
	DIR *dir;

	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(buf, size, "%s", de->d_name);
		ret = 0;
	}
	closedir(dir);
	return ret;
}

int vfio_open_node(const char *uuid)
{
	char path[PATH_MAX], name[NAME_MAX + 1];
	int fd, ret;

	snprintf(path, sizeof(path), MDEV_DEVICES "/%s/vfio-dev", uuid);
	ret = only_entry(name, sizeof(name), path);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
	ret = open_fd(&fd, path);
	return ret ?: fd;
}

static int open_cdev(struct vfio_client *vc, const char *uuid)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = vc->iommufd,
	};
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = vc->ioas,
	};
	int ret;

	ret = vfio_open_node(uuid);
	if (ret < 0)
		return ret;
	vc->device = ret;
	ret = vfio_ioctl(vc->device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	if (!ret)
		ret = vfio_ioctl(vc->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT,
				 &attach);
	if (ret)
		close_fd(&vc->device);
	return ret;
}

int vfio_open_device(struct vfio_client *vc, const char *uuid)
{
	int ret;

	if (vc->iommufd >= 0)
		return open_cdev(vc, uuid);
	ret = vfio_ioctl(vc->group, VFIO_GROUP_GET_DEVICE_FD, (void *)uuid);
	if (ret < 0)
		return ret;
	vc->device = ret;
	return 0;
}

int vfio_open(struct vfio_client *vc, const char *uuid)
{
	int ret;

	ret = vfio_attach(vc, uuid);
	if (ret)
		return ret;
	ret = vfio_open_device(vc, uuid);
	if (ret)
		vfio_close(vc);
	return ret;
}

int vfio_open_beside(struct vfio_client *vc, const struct vfio_client *first,
		     const char *uuid)
{
	int ret = 0;

	vfio_init(vc);
	vc->ioas = first->ioas;
	if (first->iommufd >= 0) {
		vc->iommufd = dup(first->iommufd);
	} else {
		vc->container = dup(first->container);
		ret = open_group(vc, uuid);
	}
	if (!ret)
		ret = vfio_open_device(vc, uuid);
	if (ret)
		vfio_close(vc);
	return ret;
}

void vfio_close_device(struct vfio_client *vc)
{
	close_fd(&vc->device);
}

void vfio_close(struct vfio_client *vc)
{
	close_fd(&vc->device);
	close_fd(&vc->group);
	close_fd(&vc->container);
	close_fd(&vc->iommufd);
}

int vfio_dma_map(struct vfio_client *vc, void *mem, uint64_t iova, size_t size,
		 bool writable)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ |
			 (writable ? VFIO_DMA_MAP_FLAG_WRITE : 0),
		.vaddr = (uintptr_t)mem,
		.iova = iova,
		.size = size,
	};
	struct iommu_ioas_map ioas_map = {
		.size = sizeof(ioas_map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 (writable ? IOMMU_IOAS_MAP_WRITEABLE : 0),
		.ioas_id = vc->ioas,
		.user_va = (uintptr_t)mem,
		.length = size,
		.iova = iova,
	};

	if (vc->iommufd >= 0)
		return vfio_ioctl(vc->iommufd, IOMMU_IOAS_MAP, &ioas_map);
	return vfio_ioctl(vc->container, VFIO_IOMMU_MAP_DMA, &map);
}

int vfio_dma_unmap(struct vfio_client *vc, uint64_t iova, size_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};
	struct iommu_ioas_unmap ioas_unmap = {
		.size = sizeof(ioas_unmap),
		.ioas_id = vc->ioas,
		.iova = iova,
		.length = size,
	};

	if (vc->iommufd >= 0)
		return vfio_ioctl(vc->iommufd, IOMMU_IOAS_UNMAP, &ioas_unmap);
	return vfio_ioctl(vc->container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

int vfio_region(int fd, unsigned int index, struct vfio_region_info *info)
{
	memset(info, 0, sizeof(*info));
	info->argsz = sizeof(*info);
	info->index = index;
	return vfio_ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, info);
}

int vfio_set_irqs(int fd, uint32_t flags, uint32_t index, uint32_t start,
		  uint32_t count, const int32_t *data)
{
	char buf[sizeof(struct vfio_irq_set) + sizeof(*data)] = {};
	struct vfio_irq_set *set = (void *)buf;

	set->argsz = sizeof(*set) + (data ? sizeof(*data) : 0);
	set->flags = flags;
	set->index = index;
	set->start = start;
	set->count = count;
	if (data)
		memcpy(set->data, data, sizeof(*data));
	return vfio_ioctl(fd, VFIO_DEVICE_SET_IRQS, set);
}

int vfio_feature(int fd, uint32_t flags, void *data, size_t size)
{
	char buf[sizeof(struct vfio_device_feature) + 64] = {};
	struct vfio_device_feature *feature = (void *)buf;
	int ret;

	feature->argsz = sizeof(*feature) + size;
	feature->flags = flags;
	memcpy(feature->data, data, size);
	ret = vfio_ioctl(fd, VFIO_DEVICE_FEATURE, feature);
	memcpy(data, feature->data, size);
	return ret;
}

bool eventfd_fired(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	eventfd_t value;

	return poll(&pfd, 1, ms) == 1 && !eventfd_read(fd, &value);
}
