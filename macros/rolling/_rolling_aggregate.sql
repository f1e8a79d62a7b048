{#
  The SQL of one output column: an aggregate over `value`, with a frame when it is a window function.

    featurelayer._rolling_aggregate('sum', 'fl_x1', 'fl_at', ' over fl_7d')
    -> coalesce(sum(fl_x1) over fl_7d, 0)

  Over no events a count and a sum are 0, all else is NULL.
#}
{% macro _rolling_aggregate(agg, value, point, over='') %}
    {% set double = 'cast(' ~ value ~ ' as ' ~ featurelayer._double() ~ ')' %}
    {% if agg == 'count' %}{{ return('count(' ~ value ~ ')' ~ over) }}
    {% elif agg == 'count_distinct' %}{{ return('count(distinct ' ~ value ~ ')' ~ over) }}
    {% elif agg == 'sum' %}{{ return('coalesce(sum(' ~ value ~ ')' ~ over ~ ', 0)') }}
    {% elif agg in ['mean', 'share'] %}{{ return('avg(' ~ double ~ ')' ~ over) }}
    {% elif agg == 'stddev' %}{{ return('stddev_samp(' ~ double ~ ')' ~ over) }}
    {% elif agg == 'min' %}{{ return('min(' ~ value ~ ')' ~ over) }}
    {% elif agg == 'time_since_last' %}{{ return(featurelayer._seconds_between('max(' ~ value ~ ')' ~ over, point)) }}
    {% else %}{{ return('max(' ~ value ~ ')' ~ over) }}
    {% endif %}
{% endmacro %}
