/* Resources: what was set aside for a pod, what the node has to give. */
#include <string.h>

#include "base/json.h"
#include "kubelet/runtime/requests.h"
#include "lib/test.h"

/* What was set aside stands in the status: a kubelet that starts anew goes on from there. */
static void a_resize_survives_a_restart(void **state)
{
    (void)state;
    struct pod *pod = NULL;
    static const char text[] =
        "{\"metadata\":{\"name\":\"web\",\"namespace\":\"d\",\"uid\":\"u1\"},\"spec\":"
        "{\"containers\":[{\"name\":\"a\",\"image\":\"i:1\","
        "\"resources\":{\"limits\":{\"cpu\":\"2\",\"memory\":\"64Mi\"}}}]}"
        ",\"status\":{\"containerStatuses\":[{\"name\":\"a\","
        "\"allocatedResources\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"},"
        "\"resources\":{\"limits\":{"
        "\"cpu\":\"100m\",\"memory\":\"64Mi\"}}}]}}";
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), NULL);
    assert_int_equal(pod_decode(j, POD_FROM_API, &pod, NULL), 0);
    struct pod *before = pod_allocated(pod);
    assert_non_null(before);
    assert_int_equal(pod_request(before, "cpu"), 100);
    assert_int_equal(pod_resources_of(before).quota, 10000);
    assert_null(pod_allocated(before)); /* that is what it asks for */
    pod_unref(before);
    pod_unref(pod);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resize_survives_a_restart),
    };
    return RUN_TESTS(tests);
}
