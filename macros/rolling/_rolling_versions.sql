{#
  The points with every time at which what is known about their window changed: keys, fl_point, fl_as_of.

    fl_versions as ( {{ featurelayer._rolling_versions(plan) }} )

  The first version is the point's birth; each event of the window that became known after it adds one.
#}
{% macro _rolling_versions(plan) %}
    {%- set keys = plan.key_columns | join(', ') -%}
    select {{ keys }}, fl_point, fl_born as fl_as_of from fl_points
    {%- if plan.available_at %}
    union distinct
    select {% for key in plan.key_columns %}points.{{ key }}, {% endfor %}points.fl_point, late.fl_known as fl_as_of
    from fl_points as points
    inner join (select * from fl_events where fl_known > fl_at) as late
        on {{ featurelayer._same_keys('points', 'late', plan.key_columns) }}
        and late.fl_at <= points.fl_point
        and late.fl_at > {{ featurelayer._seconds_after('points.fl_point', -plan.widest) }}
        and late.fl_known > points.fl_born
    {%- endif %}
{% endmacro %}
