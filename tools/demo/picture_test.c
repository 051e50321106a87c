// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test card, for tools/demo/picture.
 *
 *	picture_test show		in a guest, on its first display
 *	picture_test check FILE.ppm	is this the card, pixel by pixel?
 *
 * "show" shows a blue screen, says "blue", waits for a line on stdin, then flips
 * to the card, which is elsewhere in the video memory, and says "card".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <drm/drm.h>

static int fail(const char *what)
{
	fprintf(stderr, "picture_test: %s: %s\n", what, strerror(errno));
	return 1;
}

/* What the card looks like: bars, greys, a grid, and a disc in the middle. */
static uint32_t card(unsigned int x, unsigned int y, unsigned int w,
		     unsigned int h)
{
	static const uint32_t bars[] = {
		0xffffff, 0xffff00, 0x00ffff, 0x00ff00,
		0xff00ff, 0xff0000, 0x0000ff, 0x000000,
	};
	int dx = x - w / 2, dy = y - h / 2, r = h / 4;
	int d = dx * dx + dy * dy;

	if (d < r * r)
		return d > (r - 4) * (r - 4) ? 0xffffff :
		       (x * 255 / w) << 16 | (y * 255 / h) << 8 |
		       (255 - x * 255 / w);
	if (x < 2 || y < 2 || x >= w - 2 || y >= h - 2)
		return 0xff8000;
	if (y < h * 2 / 3)
		return bars[x * 8 / w];
	if (y < h * 5 / 6)
		return x * 256 / w * 0x010101;
	return x % 32 && y % 32 ? 0x202020 : 0x80c0ff;
}

struct buffer {
	uint32_t fb;
	uint32_t *pixel;
	uint32_t stride;	/* in pixels */
};

static int buffer_make(int drm, struct drm_mode_modeinfo *mode,
		       struct buffer *buf)
{
	struct drm_mode_create_dumb dumb = {
		.width = mode->hdisplay, .height = mode->vdisplay, .bpp = 32,
	};
	struct drm_mode_map_dumb map = {};
	struct drm_mode_fb_cmd fb = {
		.width = mode->hdisplay, .height = mode->vdisplay, .bpp = 32,
		.depth = 24,
	};

	if (ioctl(drm, DRM_IOCTL_MODE_CREATE_DUMB, &dumb))
		return fail("create dumb buffer");
	map.handle = dumb.handle;
	fb.handle = dumb.handle;
	fb.pitch = dumb.pitch;
	if (ioctl(drm, DRM_IOCTL_MODE_ADDFB, &fb) ||
	    ioctl(drm, DRM_IOCTL_MODE_MAP_DUMB, &map))
		return fail("add framebuffer");
	buf->pixel = mmap(NULL, dumb.size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  drm, map.offset);
	if (buf->pixel == MAP_FAILED)
		return fail("map buffer");
	buf->fb = fb.fb_id;
	buf->stride = dumb.pitch / 4;
	return 0;
}

static void draw(struct buffer *buf, struct drm_mode_modeinfo *mode,
		 uint32_t colour)
{
	unsigned int x, y;

	for (y = 0; y < mode->vdisplay; y++)
		for (x = 0; x < mode->hdisplay; x++)
			buf->pixel[y * buf->stride + x] = colour ?:
				card(x, y, mode->hdisplay, mode->vdisplay);
}

static int show_buffer(int drm, uint32_t crtc_id, uint32_t *connector,
		       struct drm_mode_modeinfo *mode, struct buffer *buf)
{
	struct drm_mode_crtc crtc = {
		.crtc_id = crtc_id, .fb_id = buf->fb, .mode_valid = 1,
		.mode = *mode, .count_connectors = 1,
		.set_connectors_ptr = (uintptr_t)connector,
	};

	return ioctl(drm, DRM_IOCTL_MODE_SETCRTC, &crtc) ?
	       fail("set mode") : 0;
}

static int show(void)
{
	uint32_t crtc, connector;
	struct drm_mode_card_res res = {
		.crtc_id_ptr = (uintptr_t)&crtc, .count_crtcs = 1,
		.connector_id_ptr = (uintptr_t)&connector, .count_connectors = 1,
	};
	static struct drm_mode_modeinfo modes[256];
	struct drm_mode_get_connector conn = {};
	struct buffer blue, test;
	int drm;

	drm = open("/dev/dri/card0", O_RDWR);
	if (drm < 0 || ioctl(drm, DRM_IOCTL_MODE_GETRESOURCES, &res))
		return fail("/dev/dri/card0");
	conn.connector_id = connector;
	conn.modes_ptr = (uintptr_t)modes;
	conn.count_modes = 256;
	if (ioctl(drm, DRM_IOCTL_MODE_GETCONNECTOR, &conn) || !conn.count_modes)
		return fail("connector");
	printf("mode %ux%u, the first of %u\n", modes[0].hdisplay,
	       modes[0].vdisplay, conn.count_modes);

	if (buffer_make(drm, modes, &blue) || buffer_make(drm, modes, &test))
		return 1;
	draw(&blue, modes, 0x2040c0);
	draw(&test, modes, 0);
	if (show_buffer(drm, crtc, &connector, modes, &blue))
		return 1;
	puts("showing blue");
	fflush(stdout);
	if (getchar() < 0 || show_buffer(drm, crtc, &connector, modes, &test))
		return 1;
	puts("showing the card");
	fflush(stdout);
	/* the picture goes with its owner */
	for (;;)
		pause();
}

static int check(const char *name)
{
	unsigned int w, h, x, y, wrong = 0;
	FILE *file = fopen(name, "r");

	if (!file || fscanf(file, "P6 %u %u 255", &w, &h) != 2 || !w || !h)
		return fail(name);
	getc(file);
	for (y = 0; y < h; y++)
		for (x = 0; x < w; x++) {
			uint32_t pixel = getc(file) << 16;

			pixel |= getc(file) << 8;
			pixel |= getc(file);
			wrong += pixel != card(x, y, w, h);
		}
	printf("%ux%u pixels, %u wrong\n", w, h, wrong);
	return wrong || ferror(file) || feof(file);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "show"))
		return show();
	if (argc == 3 && !strcmp(argv[1], "check"))
		return check(argv[2]);
	fprintf(stderr, "usage: picture_test show | check FILE.ppm\n");
	return 2;
}
