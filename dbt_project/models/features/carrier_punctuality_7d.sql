with rolling as (
    {{ featurelayer.rolling_features(
        relation=ref('stg_landed_flights'),
        keys=['carrier'],
        event_time='landed_at',
        windows=['7 days'],
        features={
            'flights': {'agg': 'count'},
            'arr_delay_mean': {'agg': 'mean', 'of': 'arr_delay'},
            'arr_delay_stddev': {'agg': 'stddev', 'of': 'arr_delay'},
            'late_share': {'agg': 'share', 'of': 'arr_delay >= 15'},
            'destinations': {'agg': 'count_distinct', 'of': 'dest'},
        },
    ) }}
)

select
    carrier,
    landed_at as measured_at,
    flights_7d as flights,
    arr_delay_mean_7d as arr_delay_mean,
    arr_delay_stddev_7d as arr_delay_stddev,
    late_share_7d as late_share,
    destinations_7d as destinations
from rolling
