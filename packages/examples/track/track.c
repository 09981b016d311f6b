/*
 * Length and climb of a track: lines of "latitude,longitude[,metres]" on stdin, one JSON object on stdout.
 * A line that is no point ends it with 1 and a message on stderr.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EARTH_RADIUS_KM 6371.0088
#define RADIANS(degrees) ((degrees) * 3.14159265358979323846 / 180.0)

struct point {
	double latitude, longitude, metres;
};

struct track {
	long points;
	double kilometres, climb;
	struct point last;
};

/* Great-circle distance by the haversine formula, which keeps its digits for points that are close together. */
static double distance_km(const struct point *a, const struct point *b)
{
	double dlat = RADIANS(b->latitude - a->latitude) / 2;
	double dlon = RADIANS(b->longitude - a->longitude) / 2;
	double h = sin(dlat) * sin(dlat) +
		   cos(RADIANS(a->latitude)) * cos(RADIANS(b->latitude)) * sin(dlon) * sin(dlon);

	return 2 * EARTH_RADIUS_KM * asin(sqrt(fmin(1, h)));
}

/* A number that ends at `end` or at the line's end; moves *text behind it. */
static int parse_number(char **text, double *number)
{
	char *rest;

	errno = 0;
	*number = strtod(*text, &rest);
	if (rest == *text || errno != 0 || !isfinite(*number))
		return 0;
	*text = *rest == ',' ? rest + 1 : rest;
	return *rest == ',' || *rest == '\0';
}

static int parse_point(char *line, struct point *point)
{
	line[strcspn(line, "\r\n")] = '\0';
	point->metres = 0;
	if (!parse_number(&line, &point->latitude) || !parse_number(&line, &point->longitude))
		return 0;
	if (*line != '\0' && !parse_number(&line, &point->metres))
		return 0;
	return *line == '\0' && fabs(point->latitude) <= 90 && fabs(point->longitude) <= 180;
}

static void add(struct track *track, const struct point *point)
{
	if (track->points++ > 0) {
		track->kilometres += distance_km(&track->last, point);
		track->climb += fmax(0, point->metres - track->last.metres);
	}
	track->last = *point;
}

int main(void)
{
	struct track track = {0};
	char line[256];

	for (long number = 1; fgets(line, sizeof(line), stdin) != NULL; number++) {
		struct point point;

		if (line[0] == '\n')
			continue;
		if (!parse_point(line, &point)) {
			fprintf(stderr, "line %ld is not latitude,longitude[,metres]\n", number);
			return 1;
		}
		add(&track, &point);
	}
	printf("{\"points\":%ld,\"kilometres\":%.3f,\"climbMetres\":%.1f}\n", track.points,
	       track.kilometres, track.climb);
	return 0;
}
